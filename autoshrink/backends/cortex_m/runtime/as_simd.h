/* Instructions of the DSP extension by their names, and the same in C for other machines. */
#ifndef AS_SIMD_H
#define AS_SIMD_H

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#define AS_DSP 1

/* sum + both products of 16 bits */
static inline int32_t as_smlad(uint32_t a, uint32_t b, int32_t sum)
{
    __asm__("smlad %0, %1, %2, %3" : "=r"(sum) : "r"(a), "r"(b), "r"(sum));
    return sum;
}

/* sum + (a * b + 2^31) / 2^32 */
static inline int32_t as_smmlar(int32_t a, int32_t b, int32_t sum)
{
    int32_t result;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

/* sums of 16 bits + bytes 0 and 2, or with `odd` bytes 1 and 3 */
static inline uint32_t as_sxtab16(uint32_t sums, uint32_t bytes, int odd)
{
    if (odd)
        __asm__("sxtab16 %0, %0, %1, ror #8" : "+r"(sums) : "r"(bytes));
    else
        __asm__("sxtab16 %0, %0, %1" : "+r"(sums) : "r"(bytes));
    return sums;
}

/* a / 2 within int8 */
static inline int32_t as_half8(int32_t a)
{
    int32_t result;
    __asm__("ssat %0, #8, %1, asr #1" : "=r"(result) : "r"(a));
    return result;
}

#else
#define AS_DSP 0

static inline int32_t as_smlad(uint32_t a, uint32_t b, int32_t sum)
{
    return sum + (int16_t)a * (int16_t)b + (int16_t)(a >> 16) * (int16_t)(b >> 16);
}

static inline int32_t as_smmlar(int32_t a, int32_t b, int32_t sum)
{
    return sum + (int32_t)(((int64_t)a * b + (1ll << 31)) >> 32);
}

static inline uint32_t as_sxtab16(uint32_t sums, uint32_t bytes, int odd)
{
    bytes = odd ? bytes >> 8 : bytes;
    const uint32_t low = sums + (uint32_t)(int8_t)bytes, high = (sums >> 16) + (uint32_t)(int8_t)(bytes >> 16);
    return (low & 0xFFFF) | high << 16;
}

static inline int32_t as_half8(int32_t a)
{
    a >>= 1;
    return a < -128 ? -128 : a > 127 ? 127 : a;
}

#endif

/* Twice a sum to int8: TFLite's scaling by factor / 2^(31 + shift + 1), with the zero point in the rounding:
   (2 * zero point + 1) << shift. Exact for |twice| < 2^31 and shifts from 0 to 21. */
static inline int32_t as_scale_twice(int32_t twice, int32_t factor, int32_t rounding, int shift)
{
    return as_half8((as_smmlar(twice, factor, rounding) + (twice >> 31)) >> shift);
}

#endif
