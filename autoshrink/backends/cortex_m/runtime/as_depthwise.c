/* Depthwise convolution for any core: one channel's plane at a time, with its border, so that it can work in place. */
#include "as_fixed.h"
#include "as_kernels.h"

#if !defined(__ARM_FEATURE_MVE) /* or else as_depthwise_mve.c */

/* The plane holds inputs + 128, which Armv6-M reads in one instruction. */
enum { OFFSET = 128 };

typedef struct {
    int kernel_h, kernel_w, pitch; /* bytes from one line of the kernel to the next in the plane */
    int dilation_w, stride_w;
} shape;

#if defined(__ARM_ARCH_6M__)
/* In assembler; for an even number of outputs. */
void as_sums_3x3(const uint8_t *from, int pitch, const int32_t *weights, int32_t *sums, int32_t bias, int count);
void as_sums_3x3_by_2(const uint8_t *from, int pitch, const int32_t *weights, int32_t *sums, int32_t bias, int count);
#endif

/* The sums of a line of outputs, and of one more if their number is odd. */
static void sum_line(const shape *s, const uint8_t *from, const int32_t *weights, int32_t bias, int count, int32_t *sums)
{
    const int three = s->kernel_h == 3 && s->kernel_w == 3 && s->dilation_w == 1;
#if defined(__ARM_ARCH_6M__)
    const int even = (count + 1) & ~1;
    if (three && s->stride_w == 1) {
        as_sums_3x3(from, s->pitch, weights, sums, bias, even);
        return;
    }
    if (three && s->stride_w == 2) {
        as_sums_3x3_by_2(from, s->pitch, weights, sums, bias, even);
        return;
    }
#else
    if (three) {
        const int32_t a = weights[0], b = weights[1], c = weights[2], d = weights[3], e = weights[4], f = weights[5];
        const int32_t g = weights[6], h = weights[7], i = weights[8];
        for (; count > 0; count--, from += s->stride_w) {
            const uint8_t *const second = from + s->pitch, *const third = second + s->pitch;
            *sums++ = bias + a * from[0] + b * from[1] + c * from[2] + d * second[0] + e * second[1] + f * second[2]
                      + g * third[0] + h * third[1] + i * third[2];
        }
        return;
    }
#endif
    for (; count > 0; count--, from += s->stride_w) {
        const uint8_t *row = from;
        const int32_t *weight = weights;
        int32_t sum = bias;
        for (int i = 0; i < s->kernel_h; i++, row += s->pitch) {
            const uint8_t *at = row;
            for (int j = 0; j < s->kernel_w; j++, at += s->dilation_w)
                sum += *weight++ * *at;
        }
        *sums++ = sum;
    }
}

/* Decodes the weights of a channel; gives their sum, and that of their magnitudes. */
static int32_t decode(const as_channels *channels, int channel, int taps, int32_t *weights, int32_t *magnitude)
{
    int32_t sum = 0;
    for (int tap = 0, index = channel * taps; tap < taps; tap++, index++) {
        int weight = channels->weights[channels->codebook ? index / 2 : index];
        if (channels->codebook)
            weight = channels->codebook[((uint8_t)weight >> (index % 2 * 4)) & 15];
        weights[tap] = weight;
        sum += weight;
        *magnitude += weight < 0 ? -weight : weight;
    }
    return sum;
}

void as_depthwise(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch)
{
    const int depth_in = layer->in_c, depth_out = layer->out_c, multiplier = depth_out / depth_in, out_w = layer->out_w;
    const int kernel_h = layer->kernel_h, kernel_w = layer->kernel_w, taps = kernel_h * kernel_w;
    const int rows = (layer->out_h - 1) * layer->stride_h + (kernel_h - 1) * layer->dilation_h + 1;
    const int pitch = (out_w - 1) * layer->stride_w + (kernel_w - 1) * layer->dilation_w + 1;
    const int height = layer->in_h < rows - layer->pad_top ? layer->in_h : rows - layer->pad_top;
    const int width = layer->in_w < pitch - layer->pad_left ? layer->in_w : pitch - layer->pad_left;
    const int low = layer->low, high = layer->high, zero_point = layer->zero_point;
    const shape s = {kernel_h, kernel_w, layer->dilation_h * pitch, layer->dilation_w, layer->stride_w};
    int32_t *const weights = scratch, *const sums = weights + taps;
    uint8_t *const plane = (uint8_t *)(sums + out_w + 1);
    as_fill((int8_t *)plane, layer->border + OFFSET, (size_t)(rows * pitch));
    for (int from = 0; from < depth_in; from++) {
        const int8_t *source = in + from;
        uint8_t *to = plane + layer->pad_top * pitch + layer->pad_left;
        for (int y = 0; y < height; y++, to += pitch, source += (layer->in_w - width) * depth_in)
            for (int x = 0; x < width; x++, source += depth_in)
                to[x] = (uint8_t)(*source + OFFSET);
        for (int channel = from * multiplier; channel < (from + 1) * multiplier; channel++) {
            int32_t magnitude = 0;
            const int32_t own = channels->bias[channel];
            const int32_t bias = own - OFFSET * decode(channels, channel, taps, weights, &magnitude);
            const int32_t factor = channels->multiplier[channel];
            const int shift = channels->shift[channel];
            const int small = magnitude < (1 << 20) && own < (1 << 29) && own > -(1 << 29) && shift < 0 && shift >= -22;
            const int32_t rounding = small ? (2 * zero_point + 1) * (1 << (-shift - 1)) : 0;
            int8_t *result = out + channel;
            for (int y = 0; y < layer->out_h; y++) {
                sum_line(&s, plane + y * layer->stride_h * pitch, weights, bias, out_w, sums);
                for (int x = 0; x < out_w; x++, result += depth_out) {
                    const int32_t sum = sums[x];
                    const int32_t value = small ? as_scale_small(sum, factor, rounding, -shift - 1)
                                                : as_scale(sum, factor, shift) + zero_point;
                    *result = (int8_t)as_between(value, low, high);
                }
            }
        }
    }
}

#endif
