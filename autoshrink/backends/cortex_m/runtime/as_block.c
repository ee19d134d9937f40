/* The kernels of as_block.h in C, for machines where as_block_dsp.S is empty. */
#include "as_block.h"

#if !(defined(__ARM_FEATURE_DSP) && defined(__thumb2__))

#include "as_fixed.h"

/* Sums of two channels: b's of plain weights hold 256 * b + a. */
typedef struct {
    uint32_t a[AS_POSITIONS], b[AS_POSITIONS];
} sums;

/* In assembler: two positions and two channels. `weights` are words of plain weights, or bytes of indices. */
const void *as_dots2(const uint32_t *x, const uint32_t *x_end, const void *weights, sums *result);
const void *as_dots2_codebook(const uint32_t *x, const uint32_t *x_end, const void *weights, sums *result,
                              const uint32_t *table);

static int32_t low(uint32_t word)
{
    return (int16_t)word;
}

static int32_t high(uint32_t word)
{
    return (int32_t)word >> 16;
}

static inline const void *dots(const as_block *block, const void *weights, int positions, int codebook, sums *result)
{
#if !AS_PAIRED_INPUTS
    if (positions == AS_POSITIONS) {
        if (codebook)
            return as_dots2_codebook(block->x, block->x_end, weights, result, block->table);
        return as_dots2(block->x, block->x_end, weights, result);
    }
#endif
    const uint8_t *from = weights;
    uint32_t a[AS_POSITIONS] = {0}, b[AS_POSITIONS] = {0};
    for (const uint32_t *x = block->x; x != block->x_end;) {
        int32_t a0, a1, b0, b1;
        if (codebook) {
            const uint32_t pair_a = block->table[from[0]], pair_b = block->table[from[1]];
            a0 = low(pair_a), a1 = high(pair_a), b0 = low(pair_b), b1 = high(pair_b);
            from += 2;
        } else {
            const uint32_t word = *(const uint32_t *)(const void *)from;
            b0 = low(word), b1 = high(word), a0 = (int8_t)b0, a1 = (int8_t)b1;
            from += 4;
        }
        for (int i = 0; i < positions; i++) {
            const int32_t x0 = AS_PAIRED_INPUTS ? low(x[i]) : (int32_t)x[i];
            const int32_t x1 = AS_PAIRED_INPUTS ? high(x[i]) : (int32_t)x[positions + i];
            a[i] += (uint32_t)(a0 * x0) + (uint32_t)(a1 * x1);
            b[i] += (uint32_t)(b0 * x0) + (uint32_t)(b1 * x1);
        }
        x += positions * AS_STEP_WORDS;
    }
    for (int i = 0; i < positions; i++)
        result->a[i] = a[i], result->b[i] = b[i];
    return from;
}

static int8_t scaled(uint32_t twice_bias, uint32_t twice_sum, int32_t factor, int shift, int32_t rounding)
{
    return (int8_t)as_scale_small((int32_t)(twice_bias + twice_sum) >> 1, factor, rounding, shift);
}

static inline void any_block(const as_block *block, const void *packed, int positions, int codebook)
{
    for (int8_t *out = block->out; out < block->out_end; out += 2) {
        sums s;
        packed = dots(block, packed, positions, codebook, &s);
        const uint32_t *const constants = (const uint32_t *)(((uintptr_t)packed + 3) & ~(uintptr_t)3);
        packed = constants + 5;
        const int shift_a = constants[0] & 255, shift_b = (constants[0] >> 8) & 255;
        const int32_t rounding_a = block->twice_zero * (1 << shift_a), rounding_b = block->twice_zero * (1 << shift_b);
        int8_t *to = out;
        for (int i = 0; i < positions; i++, to += block->stride) {
            to[0] = scaled(constants[1], 2 * s.a[i], (int32_t)constants[2], shift_a, rounding_a);
            if (out + 1 < block->out_end) {
                const uint32_t twice = codebook ? 2 * s.b[i] : (uint32_t)((int32_t)(s.b[i] - s.a[i]) >> 7);
                to[1] = scaled(constants[3], twice, (int32_t)constants[4], shift_b, rounding_b);
            }
        }
    }
}

static inline void any_sparse(const as_block *block, const void *packed, int positions)
{
    for (int8_t *out = block->out; out < block->out_end; out++) {
        const uint32_t *const constants = packed;
        const int8_t *entry = (const int8_t *)(constants + 3);
        const uint32_t *x = block->x;
        int32_t totals[AS_POSITIONS] = {0};
        for (int left = constants[0] & 0xFFFF; left; left--, entry += 3) {
            x += (uint8_t)entry[1] * positions * AS_STEP_WORDS;
            const int32_t first = entry[0], second = entry[2];
            for (int i = 0; i < positions; i++) {
                if (AS_PAIRED_INPUTS)
                    totals[i] += first * low(x[i]) + second * high(x[i]);
                else
                    totals[i] += first * (int32_t)x[i] + second * (int32_t)x[positions + i];
            }
        }
        packed = (const void *)(((uintptr_t)entry + 3) & ~(uintptr_t)3);
        const int shift = (int)(constants[0] >> 16);
        int8_t *to = out;
        for (int i = 0; i < positions; i++, to += block->stride)
            *to = scaled(constants[1], 2 * (uint32_t)totals[i], (int32_t)constants[2], shift, block->twice_zero * (1 << shift));
    }
}

void as_block_group_sparse(const as_block *block, const void *packed)
{
    any_sparse(block, packed, AS_POSITIONS);
}

void as_block_single_sparse(const as_block *block, const void *packed)
{
    any_sparse(block, packed, 1);
}

void as_block_group(const as_block *block, const void *packed)
{
    any_block(block, packed, AS_POSITIONS, 0);
}

void as_block_group_codebook(const as_block *block, const void *packed)
{
    any_block(block, packed, AS_POSITIONS, 1);
}

void as_block_single(const as_block *block, const void *packed)
{
    any_block(block, packed, 1, 0);
}

void as_block_single_codebook(const as_block *block, const void *packed)
{
    any_block(block, packed, 1, 1);
}

#endif
