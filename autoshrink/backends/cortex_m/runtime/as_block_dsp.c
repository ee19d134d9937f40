/* The inner kernels of as_conv_dsp.c in C, bit for bit alike, for machines where as_block_dsp.S is empty. */
#include "as_block_dsp.h"

#if !(defined(__ARM_FEATURE_DSP) && defined(__thumb2__))

static int32_t half(uint32_t word, int high)
{
    return (int16_t)(word >> (high ? 16 : 0));
}

static int32_t dot(uint32_t x, uint32_t w)
{
    return half(x, 0) * half(w, 0) + half(x, 1) * half(w, 1);
}

static uint32_t even_bytes(uint32_t word)
{
    return (uint16_t)(int8_t)word | (uint32_t)(uint16_t)(int8_t)(word >> 16) << 16;
}

static int8_t scaled(int32_t twice_sum, int32_t factor, int shift, int32_t twice_zero)
{
    int32_t value = (int32_t)(((int64_t)twice_sum * factor + (1ll << 31)) >> 32);
    value += (int32_t)((uint32_t)twice_zero << shift) + (twice_sum >> 31);
    value = value >> shift >> 1;
    return (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
}

static void any_block(const as_block *block, const void *packed, int positions, int codebook)
{
    const uint8_t *from = packed;
    for (int8_t *out = block->out; out < block->out_end; out += 2) {
        int32_t a[4] = {0, 0, 0, 0}, b[4] = {0, 0, 0, 0};
        for (const uint32_t *x = block->x; x < block->x_end; x += positions) {
            uint32_t weights[2];
            if (codebook) {
                weights[0] = block->table[from[0]], weights[1] = block->table[from[1]];
                from += 2;
            } else {
                __builtin_memcpy(&weights[1], from, 4);
                weights[0] = even_bytes(weights[1]);
                from += 4;
            }
            for (int i = 0; i < positions; i++) {
                a[i] += dot(x[i], weights[0]);
                b[i] = (int32_t)((uint32_t)b[i] + (uint32_t)dot(x[i], weights[1]));
            }
        }
        from = (const uint8_t *)(((uintptr_t)from + 3) & ~(uintptr_t)3);
        const uint32_t *constants = (const uint32_t *)(const void *)from;
        from += 20;
        for (int i = 0; i < positions; i++) {
            const int32_t difference = (int32_t)((uint32_t)b[i] - (uint32_t)a[i]);
            const uint32_t second = codebook ? (uint32_t)b[i] * 2 : (uint32_t)(difference >> 7);
            out[i * block->stride] = scaled((int32_t)(constants[1] + 2 * (uint32_t)a[i]), (int32_t)constants[2],
                                            constants[0] & 255, block->twice_zero);
            if (out + 1 < block->out_end)
                out[i * block->stride + 1] = scaled((int32_t)(constants[3] + second), (int32_t)constants[4],
                                                    (constants[0] >> 8) & 255, block->twice_zero);
        }
    }
}

void as_block4(const as_block *block, const void *packed)
{
    any_block(block, packed, 4, 0);
}

void as_block4_codebook(const as_block *block, const void *packed)
{
    any_block(block, packed, 4, 1);
}

void as_block1(const as_block *block, const void *packed)
{
    any_block(block, packed, 1, 0);
}

void as_block1_codebook(const as_block *block, const void *packed)
{
    any_block(block, packed, 1, 1);
}

void as_spread4(const int8_t *a, const int8_t *b, const int8_t *c, const int8_t *d, uint32_t *to, int32_t groups)
{
    const int8_t *from[4] = {a, b, c, d};
    for (; groups; groups--, to += 8) {
        for (int i = 0; i < 4; i++) {
            to[i] = (uint16_t)from[i][0] | (uint32_t)(uint16_t)from[i][2] << 16;
            to[4 + i] = (uint16_t)from[i][1] | (uint32_t)(uint16_t)from[i][3] << 16;
            from[i] += 4;
        }
    }
}

#endif
