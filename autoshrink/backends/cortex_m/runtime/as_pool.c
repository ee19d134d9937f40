/* Pools and means. */
#include "as_fixed.h"
#include "as_kernels.h"
#include "as_simd.h"

/* The part of a window that lies inside the image. */
typedef struct {
    const int8_t *from;
    int rows, columns;
} span;

static span inside(const as_window *layer, const int8_t *in, int y, int x)
{
    int top = y * layer->stride_h - layer->pad_top, left = x * layer->stride_w - layer->pad_left;
    int bottom = top + layer->kernel_h, right = left + layer->kernel_w;
    top = top < 0 ? 0 : top;
    left = left < 0 ? 0 : left;
    bottom = bottom > layer->in_h ? layer->in_h : bottom;
    right = right > layer->in_w ? layer->in_w : right;
    return (span){in + (top * layer->in_w + left) * layer->in_c, bottom - top, right - left};
}

/* Sums of four neighboring channels; at most 256 inputs, so that 16 bits hold them. */
static void sum4(const int8_t *from, int rows, int columns, int depth, int pitch, int32_t sums[4])
{
    uint32_t even = 0, odd = 0;
    for (; rows; rows--, from += pitch) {
        const int8_t *at = from;
        for (int left = columns; left; left--, at += depth) {
            uint32_t four;
            __builtin_memcpy(&four, at, 4);
            even = as_sxtab16(even, four, 0);
            odd = as_sxtab16(odd, four, 1);
        }
    }
    sums[0] = (int16_t)even, sums[1] = (int16_t)odd, sums[2] = (int16_t)(even >> 16), sums[3] = (int16_t)(odd >> 16);
}

static int32_t sum1(const int8_t *from, int rows, int columns, int depth, int pitch)
{
    int32_t sum = 0;
    for (; rows; rows--, from += pitch) {
        const int8_t *at = from;
        for (int left = columns; left; left--, at += depth)
            sum += *at;
    }
    return sum;
}

void as_average_pool(const as_window *layer, const int8_t *in, int8_t *out)
{
    const int depth = layer->in_c, pitch = layer->in_w * depth;
    for (int y = 0; y < layer->out_h; y++) {
        for (int x = 0; x < layer->out_w; x++) {
            const span part = inside(layer, in, y, x);
            const int32_t count = part.rows * part.columns, half = count / 2;
            for (int channel = 0; channel < depth;) {
                int32_t sums[4];
                int made = 1;
                if (AS_DSP && count <= 256 && channel + 4 <= depth) {
                    sum4(part.from + channel, part.rows, part.columns, depth, pitch, sums);
                    made = 4;
                } else {
                    sums[0] = sum1(part.from + channel, part.rows, part.columns, depth, pitch);
                }
                channel += made;
                for (int i = 0; i < made; i++) {
                    const int32_t mean = (sums[i] > 0 ? sums[i] + half : sums[i] - half) / count;
                    *out++ = (int8_t)as_between(mean, layer->low, layer->high);
                }
            }
        }
    }
}

void as_max_pool(const as_window *layer, const int8_t *in, int8_t *out)
{
    const int depth = layer->in_c, pitch = layer->in_w * depth;
    for (int y = 0; y < layer->out_h; y++) {
        for (int x = 0; x < layer->out_w; x++) {
            const span part = inside(layer, in, y, x);
            for (int channel = 0; channel < depth; channel++) {
                const int8_t *row = part.from + channel;
                int32_t most = layer->low;
                for (int i = 0; i < part.rows; i++, row += pitch)
                    for (int j = 0; j < part.columns; j++)
                        most = row[j * depth] > most ? row[j * depth] : most;
                *out++ = (int8_t)(most > layer->high ? layer->high : most);
            }
        }
    }
}

void as_mean(const as_reduction *layer, const int8_t *in, int8_t *out)
{
    for (int i = 0; i < layer->outer; i++, in += layer->middle * layer->inner) {
        for (int j = 0; j < layer->inner; j++) {
            int32_t sum = sum1(in + j, 1, layer->middle, layer->inner, 0) - layer->zero_in * layer->middle;
            sum = as_scale(sum, layer->multiplier, layer->shift) + layer->zero_out;
            *out++ = (int8_t)as_between(sum, -128, 127);
        }
    }
}
