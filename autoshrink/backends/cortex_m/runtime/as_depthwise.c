/* Depthwise convolution for any core: one channel's plane at a time, with its border, so that it can work in place. */
#include "as_fixed.h"
#include "as_kernels.h"

#if !defined(__ARM_FEATURE_MVE) /* or else as_depthwise_mve.c */

void as_depthwise(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch)
{
    const int depth_in = layer->in_c, depth_out = layer->out_c, multiplier = depth_out / depth_in;
    const int kernel_h = layer->kernel_h, kernel_w = layer->kernel_w, taps = kernel_h * kernel_w;
    const int rows = (layer->out_h - 1) * layer->stride_h + (kernel_h - 1) * layer->dilation_h + 1;
    const int pitch = (layer->out_w - 1) * layer->stride_w + (kernel_w - 1) * layer->dilation_w + 1;
    const int height = layer->in_h < rows - layer->pad_top ? layer->in_h : rows - layer->pad_top;
    const int width = layer->in_w < pitch - layer->pad_left ? layer->in_w : pitch - layer->pad_left;
    int8_t *const plane = scratch;
    as_fill(plane, layer->border, (size_t)(rows * pitch));
    for (int from = 0; from < depth_in; from++) {
        const int8_t *source = in + from;
        int8_t *to = plane + layer->pad_top * pitch + layer->pad_left;
        for (int y = 0; y < height; y++, to += pitch, source += (layer->in_w - width) * depth_in)
            for (int x = 0; x < width; x++, source += depth_in)
                to[x] = *source;
        for (int channel = from * multiplier; channel < (from + 1) * multiplier; channel++) {
            int8_t *result = out + channel;
            for (int y = 0; y < layer->out_h; y++) {
                for (int x = 0; x < layer->out_w; x++, result += depth_out) {
                    const int8_t *weight = channels->weights + channel * (channels->codebook ? (taps + 1) / 2 : taps);
                    const int8_t *at = plane + y * layer->stride_h * pitch + x * layer->stride_w;
                    int32_t sum = channels->bias[channel];
                    for (int i = 0, tap = 0; i < kernel_h; i++, at += layer->dilation_h * pitch) {
                        for (int j = 0; j < kernel_w; j++, tap++) {
                            const int w = channels->codebook
                                              ? channels->codebook[((uint8_t)weight[tap / 2] >> (tap % 2 * 4)) & 15]
                                              : weight[tap];
                            sum += w * at[j * layer->dilation_w];
                        }
                    }
                    sum = as_scale(sum, channels->multiplier[channel], channels->shift[channel]) + layer->zero_point;
                    *result = (int8_t)as_between(sum, layer->low, layer->high);
                }
            }
        }
    }
}

#endif
