/* Convolution and fully connected layer for any core: two output positions and two channels at a time. */
#include "as_fixed.h"
#include "as_kernels.h"

#if !defined(__ARM_FEATURE_MVE) /* or else as_conv_mve.c */

static int8_t scaled(const as_window *layer, const as_channels *channels, int channel, int32_t sum)
{
    sum = as_scale(sum + channels->bias[channel], channels->multiplier[channel], channels->shift[channel]);
    return (int8_t)as_between(sum + layer->zero_point, layer->low, layer->high);
}

/* Looks up `size` indices of 4 bits. */
static void decode(const int8_t *packed, const int8_t *codebook, int size, int8_t *to)
{
    for (; size >= 2; size -= 2) {
        const unsigned both = (uint8_t)*packed++;
        *to++ = codebook[both & 15];
        *to++ = codebook[both >> 4];
    }
    if (size)
        *to = codebook[*packed & 15];
}

static inline void convolve(const as_window *layer, const as_channels *channels, const int8_t *codebook, const int8_t *in,
                            int8_t *out, int8_t *scratch)
{
    const int taps = layer->kernel_h * layer->kernel_w * layer->in_c, depth = layer->out_c;
    const int row = codebook ? (taps + 1) / 2 : taps;
    int8_t *const first = scratch, *const second = first + taps, *const decoded = second + taps;
    int y = 0, x = 0;
    for (int left = layer->out_h * layer->out_w; left > 0; left -= 2, out += 2 * depth) {
        for (int pixel = 0; pixel < 2 && pixel < left; pixel++) {
            as_gather(layer, in, y, x, pixel ? second : first);
            if (++x == layer->out_w)
                x = 0, y++;
        }
        for (int channel = 0; channel < depth; channel += 2) {
            const int pair = channel + 1 < depth;
            const int8_t *a = channels->weights + channel * row, *b = pair ? a + row : a;
            if (codebook) {
                decode(a, codebook, taps, decoded);
                decode(b, codebook, taps, decoded + taps);
                a = decoded, b = decoded + taps;
            }
            int32_t a0 = 0, a1 = 0, b0 = 0, b1 = 0;
            for (int tap = 0; tap < taps; tap++) {
                const int32_t weight_a = a[tap], weight_b = b[tap], x0 = first[tap], x1 = second[tap];
                a0 += weight_a * x0;
                a1 += weight_a * x1;
                b0 += weight_b * x0;
                b1 += weight_b * x1;
            }
            out[channel] = scaled(layer, channels, channel, a0);
            if (pair)
                out[channel + 1] = scaled(layer, channels, channel + 1, b0);
            if (left > 1) {
                out[depth + channel] = scaled(layer, channels, channel, a1);
                if (pair)
                    out[depth + channel + 1] = scaled(layer, channels, channel + 1, b1);
            }
        }
    }
}

void as_conv(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch)
{
    convolve(layer, channels, NULL, in, out, scratch);
}

void as_conv_codebook(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch)
{
    convolve(layer, channels, channels->codebook, in, out, scratch);
}

#endif
