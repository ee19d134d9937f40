/* Copying and filling, and the inputs of one output position. */
#include "as_kernels.h"

#if defined(__ARM_FEATURE_UNALIGNED) || !defined(__arm__)
#define WORDS_ANYWHERE 1
#else
#define WORDS_ANYWHERE 0
#endif

#if defined(__ARM_FEATURE_MVE)

#include <arm_mve.h>

void as_copy(int8_t *to, const int8_t *from, size_t size)
{
    for (int left = (int)size; left > 0; left -= 16, from += 16, to += 16) {
        const mve_pred16_t some = vctp8q((uint32_t)left);
        vstrbq_p_s8(to, vldrbq_z_s8(from, some), some);
    }
}

void as_fill(int8_t *to, int value, size_t size)
{
    for (int left = (int)size; left > 0; left -= 16, to += 16)
        vstrbq_p_s8(to, vdupq_n_s8((int8_t)value), vctp8q((uint32_t)left));
}

#else

void as_copy(int8_t *to, const int8_t *from, size_t size)
{
    if (WORDS_ANYWHERE || (((uintptr_t)to | (uintptr_t)from) & 3) == 0) {
        for (; size >= 4; size -= 4, to += 4, from += 4) {
            if (WORDS_ANYWHERE)
                __builtin_memcpy(to, from, 4);
            else
                *(uint32_t *)(void *)to = *(const uint32_t *)(const void *)from;
        }
    }
    while (size--) {
        *to++ = *from++;
        __asm__ volatile(""); /* stays a loop: the C library's memcpy is no faster */
    }
}

void as_fill(int8_t *to, int value, size_t size)
{
    const uint32_t four = (uint8_t)value * 0x01010101u;
    if (WORDS_ANYWHERE || ((uintptr_t)to & 3) == 0) {
        for (; size >= 4; size -= 4, to += 4) {
            if (WORDS_ANYWHERE)
                __builtin_memcpy(to, &four, 4);
            else
                *(uint32_t *)(void *)to = four;
        }
    }
    while (size--) {
        *to++ = (int8_t)value;
        __asm__ volatile("");
    }
}

#endif

void as_clamp(const int8_t *in, int8_t *out, size_t size, int low, int high)
{
    for (; size; size--) {
        const int value = *in++;
        *out++ = (int8_t)(value < low ? low : value > high ? high : value);
    }
}

void as_gather(const as_window *layer, const int8_t *in, int y, int x, int8_t *to)
{
    const int depth = layer->in_c, width = layer->in_w, run = layer->kernel_w * depth;
    const int top = y * layer->stride_h - layer->pad_top, left = x * layer->stride_w - layer->pad_left;
    for (int i = 0; i < layer->kernel_h; i++, to += run) {
        const int row = top + i * layer->dilation_h;
        if (row < 0 || row >= layer->in_h) {
            as_fill(to, layer->border, (size_t)run);
            continue;
        }
        const int8_t *from = in + row * width * depth;
        if (layer->dilation_w == 1 && left >= 0 && left + layer->kernel_w <= width) {
            as_copy(to, from + left * depth, (size_t)run);
            continue;
        }
        for (int j = 0; j < layer->kernel_w; j++) {
            const int column = left + j * layer->dilation_w;
            if (column < 0 || column >= width)
                as_fill(to + j * depth, layer->border, (size_t)depth);
            else
                as_copy(to + j * depth, from + column * depth, (size_t)depth);
        }
    }
}
