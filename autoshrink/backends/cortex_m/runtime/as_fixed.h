/* TFLite's fixed-point arithmetic, bit for bit. */
#ifndef AS_FIXED_H
#define AS_FIXED_H

#include <stdint.h>

/* a * b / 2^31, rounded to nearest, halves up; not for a = b = INT32_MIN. */
static inline int32_t as_high_multiply(int32_t a, int32_t b)
{
#if defined(__ARM_ARCH_6M__)
    /* No 64-bit product: four of 16 bits. */
    const uint32_t a_low = (uint16_t)a, b_low = (uint16_t)b;
    const int32_t a_high = a >> 16, b_high = b >> 16;
    const uint32_t low = a_low * b_low;
    const int32_t cross = a_high * (int32_t)b_low + (int32_t)(low >> 16); /* |a_high * b_low| < 2^31 - 2^16 */
    const int32_t other = (int32_t)a_low * b_high;
    const uint32_t middle = (uint32_t)(cross & 0xFFFF) + (uint32_t)(other & 0xFFFF);
    const int32_t high = a_high * b_high + (cross >> 16) + (other >> 16) + (int32_t)(middle >> 16);
    const uint32_t bits = (middle << 16) | (low & 0xFFFF); /* the product is high:bits */
    return (int32_t)(((uint32_t)high << 1) + (bits >> 31) + ((bits >> 30) & 1));
#else
    return (int32_t)(((int64_t)a * b + (1 << 30)) >> 31);
#endif
}

/* The same for |a| < 2^30 and b >= 0. */
static inline int32_t as_high_multiply_small(int32_t a, int32_t b)
{
#if defined(__ARM_ARCH_6M__)
    const uint32_t a_low = (uint16_t)a, b_low = (uint16_t)b;
    const int32_t a_high = a >> 16, b_high = b >> 16;
    /* The middle of the product, kept positive by 2^30, with half of what is rounded: it stays below 2^32. */
    const uint32_t middle = a_low * (uint32_t)b_high + (uint32_t)(a_high * (int32_t)b_low) + ((a_low * b_low) >> 16)
                            + ((1u << 30) + (1u << 14));
    return 2 * (a_high * b_high) - (1 << 15) + (int32_t)(middle >> 15);
#else
    return as_high_multiply(a, b);
#endif
}

/* A sum below 2^30 to int8: TFLite's scaling by b / 2^(31 + shift + 1), with the zero point in the rounding:
   (2 * zero point + 1) << shift. Exact for shifts from 0 to 21. */
static inline int32_t as_scale_small(int32_t sum, int32_t b, int32_t rounding, int shift)
{
    const int32_t value = (as_high_multiply_small(sum, b) + rounding + (sum >> 31)) >> shift >> 1;
    return value < -128 ? -128 : value > 127 ? 127 : value;
}

/* a / 2^exponent, rounded to nearest, halves away from zero. */
static inline int32_t as_divide_by_power(int32_t a, int exponent)
{
    const int32_t mask = (int32_t)((1u << exponent) - 1);
    return (a >> exponent) + ((a & mask) > (mask >> 1) + (a < 0));
}

/* a * multiplier / 2^31 * 2^shift. */
static inline int32_t as_scale(int32_t a, int32_t multiplier, int shift)
{
    if (shift > 0)
        return as_high_multiply((int32_t)((uint32_t)a << shift), multiplier);
    return as_divide_by_power(as_high_multiply(a, multiplier), -shift);
}

static inline int32_t as_between(int32_t a, int32_t low, int32_t high)
{
    return a < low ? low : a > high ? high : a;
}

#endif
