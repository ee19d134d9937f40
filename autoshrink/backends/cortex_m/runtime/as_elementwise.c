/* Sums and products of two operands, and functions of one. */
#include "as_fixed.h"
#include "as_kernels.h"
#include "as_simd.h"

enum { HEADROOM = 20 }; /* bits that a sum's operands are shifted to the left */

/* Whether as_scale_twice takes the scaling of the result. */
static int is_simple(const as_binary *layer)
{
    return AS_DSP && layer->shift[2] <= -1 && layer->shift[2] >= -22;
}

static void clamp(const as_binary *layer, int8_t *out, size_t size)
{
    if (layer->low > -128 || layer->high < 127)
        as_clamp(out, out, size, layer->low, layer->high);
}

/* Twice what a value of the first operand, and the second one's zero point, add to a sum. */
static int32_t term(const as_binary *layer, int a)
{
    const int32_t scaled = as_scale((a - layer->zero[0]) * (1 << HEADROOM), layer->multiplier[0], layer->shift[0]);
    return 2 * layer->sign[0] * scaled - layer->sign[1] * layer->zero[1] * (1 << HEADROOM);
}

void as_add_table(const as_binary *layer, int32_t table[256])
{
    for (int a = -128; a < 128; a++)
        table[a & 255] = term(layer, a);
}

static inline void add(const as_binary *layer, const int32_t *table, const int8_t *a, int step_a, const int8_t *b,
                       int step_b, int8_t *out, size_t size)
{
    /* The second operand has the larger scale: its factor is 1/2. */
    const int32_t factor_b = layer->sign[1] * (1 << HEADROOM), factor = layer->multiplier[2];
    const int8_t *const end = out + size;
    if (is_simple(layer)) {
        const int32_t shift = -layer->shift[2] - 1, rounding = (2 * layer->zero[2] + 1) * (1 << shift);
        for (; out != end; a += step_a, b += step_b) {
            const int32_t twice = (table ? table[(uint8_t)*a] : term(layer, *a)) + *b * factor_b;
            *out++ = (int8_t)as_scale_twice(twice, factor, rounding, shift);
        }
        clamp(layer, out - size, size);
        return;
    }
    for (; out != end; a += step_a, b += step_b) {
        const int32_t twice = (table ? table[(uint8_t)*a] : term(layer, *a)) + *b * factor_b;
        const int32_t value = as_scale(twice / 2, factor, layer->shift[2]) + layer->zero[2];
        *out++ = (int8_t)as_between(value, layer->low, layer->high);
    }
}

void as_add(const as_binary *layer, const int32_t *table, const int8_t *a, int step_a, const int8_t *b, int step_b,
            int8_t *out, size_t size)
{
    if (table && step_a && step_b)
        add(layer, table, a, 1, b, 1, out, size);
    else
        add(layer, table, a, step_a, b, step_b, out, size);
}

void as_multiply(const as_binary *layer, const int32_t *table, const int8_t *a, int step_a, const int8_t *b, int step_b,
                 int8_t *out, size_t size)
{
    (void)table;
    const int32_t zero_a = layer->zero[0], zero_b = layer->zero[1], factor = layer->multiplier[2];
    const int8_t *const end = out + size;
    if (is_simple(layer)) {
        const int32_t shift = -layer->shift[2] - 1, rounding = (2 * layer->zero[2] + 1) * (1 << shift);
        for (; out != end; a += step_a, b += step_b)
            *out++ = (int8_t)as_scale_twice(2 * (*a - zero_a) * (*b - zero_b), factor, rounding, shift);
        clamp(layer, out - size, size);
        return;
    }
    for (; out != end; a += step_a, b += step_b) {
        const int32_t product = as_scale((*a - zero_a) * (*b - zero_b), factor, layer->shift[2]);
        *out++ = (int8_t)as_between(product + layer->zero[2], layer->low, layer->high);
    }
}

void as_broadcasting(const as_broadcast *loops, as_binary_run *run, const as_binary *layer, const int32_t *table,
                     const int8_t *a, const int8_t *b, int8_t *out)
{
    for (int i = 0; i < loops->size[0]; i++)
        for (int j = 0; j < loops->size[1]; j++)
            for (int k = 0; k < loops->size[2]; k++, out += loops->run)
                run(layer, table, a + i * loops->skip_a[0] + j * loops->skip_a[1] + k * loops->skip_a[2], loops->step_a,
                    b + i * loops->skip_b[0] + j * loops->skip_b[1] + k * loops->skip_b[2], loops->step_b, out,
                    (size_t)loops->run);
}

void as_table(const int8_t *table, const int8_t *in, int8_t *out, size_t size)
{
    table += 128;
#pragma GCC unroll 4
    while (size--)
        *out++ = table[*in++];
}
