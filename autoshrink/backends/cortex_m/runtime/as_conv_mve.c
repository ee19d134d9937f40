/* Convolution and fully connected layer for cores with the M-profile vector extension: four positions at a time. */
#include "as_mve.h"

#if defined(__ARM_FEATURE_MVE)

enum { POSITIONS = 4, LANES = 16 };

/* Weights of up to 16 taps from their 4-bit indices. */
static inline int8x16_t decoded(const int8_t *packed, const int8_t *codebook, int taps)
{
    const uint16x8_t both = vldrbq_z_u16((const uint8_t *)packed, vctp16q((uint32_t)(taps + 1) / 2));
    const uint16x8_t low = vandq_u16(both, vdupq_n_u16(15));
    const uint16x8_t high = vshlq_n_u16(vshrq_n_u16(both, 4), 8);
    return vldrbq_gather_offset_s8(codebook, vreinterpretq_u8_u16(vorrq_u16(low, high)));
}

/* Weights of 32 taps: the even ones, and the odd ones. */
static inline int8x16x2_t decoded_twice(const int8_t *packed, const int8_t *codebook)
{
    const uint8x16_t both = vldrbq_u8((const uint8_t *)packed);
    int8x16x2_t weights;
    weights.val[0] = vldrbq_gather_offset_s8(codebook, vandq_u8(both, vdupq_n_u8(15)));
    weights.val[1] = vldrbq_gather_offset_s8(codebook, vshrq_n_u8(both, 4));
    return weights;
}

static inline int32_t dot2(int32_t sum, int8x16x2_t x, int8x16x2_t weights)
{
    return vmladavaq_s8(vmladavaq_s8(sum, x.val[0], weights.val[0]), x.val[1], weights.val[1]);
}

/* Four sums of products with the same factors. */
static inline int32x4_t dot4(const int8_t *const x[POSITIONS], const int8_t *weights, const int8_t *codebook, int taps)
{
    const int8_t *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
    int32_t a = 0, b = 0, c = 0, d = 0;
    if (codebook) {
        for (; taps >= 2 * LANES; taps -= 2 * LANES, weights += LANES) {
            const int8x16x2_t w = decoded_twice(weights, codebook);
            a = dot2(a, vld2q_s8(x0), w), x0 += 2 * LANES;
            b = dot2(b, vld2q_s8(x1), w), x1 += 2 * LANES;
            c = dot2(c, vld2q_s8(x2), w), x2 += 2 * LANES;
            d = dot2(d, vld2q_s8(x3), w), x3 += 2 * LANES;
        }
    }
    for (int left = taps / LANES; left; left--) {
        const int8x16_t w = codebook ? decoded(weights, codebook, LANES) : vldrbq_s8(weights);
        weights += codebook ? LANES / 2 : LANES;
        a = vmladavaq_s8(a, vldrbq_s8(x0), w), x0 += LANES;
        b = vmladavaq_s8(b, vldrbq_s8(x1), w), x1 += LANES;
        c = vmladavaq_s8(c, vldrbq_s8(x2), w), x2 += LANES;
        d = vmladavaq_s8(d, vldrbq_s8(x3), w), x3 += LANES;
    }
    if (taps % LANES) {
        const mve_pred16_t some = vctp8q((uint32_t)(taps % LANES));
        const int8x16_t w = codebook ? decoded(weights, codebook, taps % LANES) : vldrbq_z_s8(weights, some);
        a = vmladavaq_s8(a, vldrbq_z_s8(x0, some), w);
        b = vmladavaq_s8(b, vldrbq_z_s8(x1, some), w);
        c = vmladavaq_s8(c, vldrbq_z_s8(x2, some), w);
        d = vmladavaq_s8(d, vldrbq_z_s8(x3, some), w);
    }
    const int32_t sums[POSITIONS] = {a, b, c, d};
    return vldrwq_s32(sums);
}

/* Four sums of one position's inputs with the weights of four channels, from a codebook. */
static inline int32x4_t dot4_decoded(const int8_t *const rows[4], const int8_t *x, const int8_t *codebook, int taps)
{
    const int8_t *w0 = rows[0], *w1 = rows[1], *w2 = rows[2], *w3 = rows[3];
    int32_t a = 0, b = 0, c = 0, d = 0;
    for (; taps >= 2 * LANES; taps -= 2 * LANES, x += 2 * LANES) {
        const int8x16x2_t both = vld2q_s8(x);
        a = dot2(a, both, decoded_twice(w0, codebook)), w0 += LANES;
        b = dot2(b, both, decoded_twice(w1, codebook)), w1 += LANES;
        c = dot2(c, both, decoded_twice(w2, codebook)), w2 += LANES;
        d = dot2(d, both, decoded_twice(w3, codebook)), w3 += LANES;
    }
    for (; taps > 0; taps -= LANES, x += LANES) {
        const int8x16_t few = vldrbq_z_s8(x, vctp8q((uint32_t)taps));
        a = vmladavaq_s8(a, few, decoded(w0, codebook, taps)), w0 += LANES / 2;
        b = vmladavaq_s8(b, few, decoded(w1, codebook, taps)), w1 += LANES / 2;
        c = vmladavaq_s8(c, few, decoded(w2, codebook, taps)), w2 += LANES / 2;
        d = vmladavaq_s8(d, few, decoded(w3, codebook, taps)), w3 += LANES / 2;
    }
    const int32_t sums[4] = {a, b, c, d};
    return vldrwq_s32(sums);
}

/* One position with all of the input: four channels at a time. */
static inline void dense(const as_window *layer, const as_channels *channels, const int8_t *codebook, const int8_t *in,
                         int8_t *out)
{
    const int taps = layer->in_c, depth = layer->out_c, row = codebook ? (taps + 1) / 2 : taps;
    const as_results results = as_results_of(layer, channels);
    for (int channel = 0; channel < depth; channel += 4) {
        const int8_t *rows[4];
        for (int i = 0; i < 4; i++)
            rows[i] = channels->weights + (channel + i < depth ? channel + i : channel) * row;
        const mve_pred16_t some = vctp32q((uint32_t)(depth - channel));
        const int32x4_t shift = vldrbq_z_s32(results.shift + channel, some);
        const int32x4_t right = vminq_s32(shift, vdupq_n_s32(0));
        int32x4_t sums = codebook ? dot4_decoded(rows, in, codebook, taps) : dot4(rows, in, NULL, taps);
        sums = vaddq_s32(sums, vldrwq_z_s32(results.bias + channel, some));
        sums = vshlq_s32(sums, vmaxq_s32(shift, vdupq_n_s32(0)));
        sums = vqrdmulhq_s32(sums, vldrwq_z_s32(results.multiplier + channel, some));
        sums = vaddq_s32(sums, vshrq_n_s32(vandq_s32(sums, right), 31)); /* halves are rounded away from zero */
        sums = vaddq_n_s32(vrshlq_s32(sums, right), results.zero_point);
        vstrbq_p_s32(out + channel, vmaxq_s32(vminq_s32(sums, results.high), results.low), some);
    }
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

static int is_single(const as_window *layer)
{
    return layer->in_h * layer->in_w == 1 && layer->kernel_h * layer->kernel_w == 1;
}

void as_conv(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch)
{
    if (is_single(layer))
        dense(layer, channels, NULL, in, out);
    else
        convolve(layer, channels, NULL, in, out, scratch);
}

void as_conv_codebook(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch)
{
    if (is_single(layer))
        dense(layer, channels, channels->codebook, in, out);
    else
        convolve(layer, channels, channels->codebook, in, out, scratch);
}

#endif
