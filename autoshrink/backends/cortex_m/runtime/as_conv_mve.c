/* Convolution and fully connected layer for cores with the M-profile vector extension: four positions at a time. */
#include "as_mve.h"

#if defined(__ARM_FEATURE_MVE)

enum { POSITIONS = 4, LANES = 16 };

/* 16 weights from 4-bit indices. */
static inline int8x16_t decoded(const int8_t *packed, const int8_t *codebook)
{
    const uint16x8_t both = vldrbq_u16((const uint8_t *)packed);
    const uint16x8_t low = vandq_u16(both, vdupq_n_u16(15));
    const uint16x8_t high = vshlq_n_u16(vshrq_n_u16(both, 4), 8);
    return vldrbq_gather_offset_s8(codebook, vreinterpretq_u8_u16(vorrq_u16(low, high)));
}

static inline int32x4_t dot4(const int8_t *const x[POSITIONS], const int8_t *weights, const int8_t *codebook, int taps)
{
    const int8_t *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    int32_t a = 0, b = 0, c = 0, d = 0;
    for (int left = taps / LANES; left; left--) {
        const int8x16_t w = codebook ? decoded(weights, codebook) : vldrbq_s8(weights);
        weights += codebook ? LANES / 2 : LANES;
        a = vmladavaq_s8(a, vldrbq_s8(x0), w), x0 += LANES;
        b = vmladavaq_s8(b, vldrbq_s8(x1), w), x1 += LANES;
        c = vmladavaq_s8(c, vldrbq_s8(x2), w), x2 += LANES;
        d = vmladavaq_s8(d, vldrbq_s8(x3), w), x3 += LANES;
    }
    if (taps % LANES) {
        const mve_pred16_t some = vctp8q((uint32_t)(taps % LANES));
        const int8x16_t w = codebook ? decoded(weights, codebook) : vldrbq_z_s8(weights, some);
        a = vmladavaq_s8(a, vldrbq_z_s8(x0, some), w);
        b = vmladavaq_s8(b, vldrbq_z_s8(x1, some), w);
        c = vmladavaq_s8(c, vldrbq_z_s8(x2, some), w);
        d = vmladavaq_s8(d, vldrbq_z_s8(x3, some), w);
    }
    const int32_t sums[POSITIONS] = {a, b, c, d};
    return vldrwq_s32(sums);
}

static inline void convolve(const as_window *layer, const as_channels *channels, const int8_t *codebook, const int8_t *in,
                            int8_t *out, int8_t *scratch)
{
    const int taps = layer->kernel_h * layer->kernel_w * layer->in_c, depth = layer->out_c, width = layer->out_w;
    const int row = codebook ? (taps + 1) / 2 : taps;
    const int pointwise = taps == layer->in_c && !layer->pad_top && !layer->pad_left;
    const as_results results = as_results_of(layer, channels);
    const uint32x4_t places = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)depth);
    int y = 0, x = 0;
    for (int left = layer->out_h * width; left > 0; left -= POSITIONS, out += POSITIONS * depth) {
        const int8_t *from[POSITIONS];
        const int count = left < POSITIONS ? left : POSITIONS;
        for (int i = 0; i < count; i++) {
            if (pointwise) {
                from[i] = in + (y * layer->stride_h * layer->in_w + x * layer->stride_w) * taps;
            } else {
                as_gather(layer, in, y, x, scratch + i * taps);
                from[i] = scratch + i * taps;
            }
            if (++x == width)
                x = 0, y++;
        }
        for (int i = count; i < POSITIONS; i++)
            from[i] = from[0];
        const mve_pred16_t some = vctp32q((uint32_t)count);
        const int8_t *weights = channels->weights;
        for (int channel = 0; channel < depth; channel++, weights += row) {
            const int32x4_t sums = dot4(from, weights, codebook, taps);
            vstrbq_scatter_offset_p_s32(out + channel, places, as_scaled4(&results, channel, sums), some);
        }
    }
}

void as_conv(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch)
{
    if (channels->codebook)
        convolve(layer, channels, channels->codebook, in, out, scratch);
    else
        convolve(layer, channels, NULL, in, out, scratch);
}

#endif
