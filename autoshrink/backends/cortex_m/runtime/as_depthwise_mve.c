/*
 * Depthwise convolution for cores with the M-profile vector extension: one channel's plane at a time, with its border,
 * so that it can work in place. Lines of the plane run along the image's longer side; four outputs of one are made at once.
 */
#include "as_mve.h"

#if defined(__ARM_FEATURE_MVE)

/* One direction of a window. */
typedef struct {
    int in, out, kernel, stride, dilation, pad;
    int step_in, step_out, step_tap; /* bytes; of the weights */
    int used, needed;                /* inputs that any window reaches; the same with the border */
} side;

static side make_side(int in, int out, int kernel, int stride, int dilation, int pad)
{
    side s = {in, out, kernel, stride, dilation, pad, 0, 0, 0, in, (out - 1) * stride + (kernel - 1) * dilation + 1};
    if (s.used > s.needed - pad)
        s.used = s.needed - pad;
    return s;
}

static void fill_plane(const side *along, const side *across, const int8_t *in, int pitch, int8_t *plane)
{
    const uint16x8_t places = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)along->step_in);
    plane += across->pad * pitch + along->pad;
    for (int line = 0; line < across->used; line++, in += across->step_in, plane += pitch) {
        for (int i = 0; i < along->used; i += 8) {
            const mve_pred16_t some = vctp16q((uint32_t)(along->used - i));
            const int16x8_t eight = vldrbq_gather_offset_z_s16(in + i * along->step_in, places, some);
            vstrbq_p_s16(plane + i, eight, some);
        }
    }
}

/* The weights of a channel in the plane's orientation, those of a codebook decoded. */
static void order_weights(const as_channels *channels, int channel, const side *along, const side *across, int32_t *to)
{
    const int taps = along->kernel * across->kernel;
    for (int i = 0; i < across->kernel; i++) {
        int index = channel * taps + i * across->step_tap;
        for (int j = 0; j < along->kernel; j++, index += along->step_tap) {
            const int stored = channels->weights[channels->codebook ? index / 2 : index];
            *to++ = channels->codebook ? channels->codebook[((uint8_t)stored >> (index % 2 * 4)) & 15] : stored;
        }
    }
}

/* One channel; `kernel_h` and `kernel_w` across and along lines. */
static inline void make_channel(const as_results *results, int channel, const int8_t *plane, int pitch, const int32_t *weights,
                                const side *along, const side *across, int kernel_h, int kernel_w, int8_t *out)
{
    const uint32x4_t near = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)along->stride);
    const uint32x4_t places = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)along->step_out);
    const int count = along->out, line_step = across->stride * pitch, tap_line = across->dilation * pitch;
    const int tap_step = along->dilation, lines = across->out, stride = 4 * along->stride, step_out = 4 * along->step_out;
    for (int line = 0; line < lines; line++, plane += line_step, out += across->step_out) {
        const int8_t *start = plane;
        int8_t *to = out;
        for (int left = count; left > 0; left -= 4, start += stride, to += step_out) {
            int32x4_t sums = vdupq_n_s32(0);
            const int8_t *row = start;
            const int32_t *w = weights;
            for (int i = 0; i < kernel_h; i++, row += tap_line)
#pragma GCC unroll 3
                for (int j = 0; j < kernel_w; j++)
                    sums = vmlaq_n_s32(sums, vldrbq_gather_offset_s32(row + j * tap_step, near), *w++);
            const mve_pred16_t some = vctp32q((uint32_t)left);
            vstrbq_scatter_offset_p_s32(to, places, as_scaled4(results, channel, sums), some);
        }
    }
}

void as_depthwise(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch)
{
    const int depth_in = layer->in_c, depth_out = layer->out_c, multiplier = depth_out / depth_in;
    side height = make_side(layer->in_h, layer->out_h, layer->kernel_h, layer->stride_h, layer->dilation_h, layer->pad_top);
    side width = make_side(layer->in_w, layer->out_w, layer->kernel_w, layer->stride_w, layer->dilation_w, layer->pad_left);
    height.step_in = layer->in_w * depth_in, height.step_out = layer->out_w * depth_out, height.step_tap = layer->kernel_w;
    width.step_in = depth_in, width.step_out = depth_out, width.step_tap = 1;
    const int along_height = layer->out_h > layer->out_w;
    const side along = along_height ? height : width, across = along_height ? width : height;
    const int pitch = along.needed;
    const as_results results = as_results_of(layer, channels);
    int32_t *const weights = scratch;
    int8_t *const plane = (int8_t *)(weights + along.kernel * across.kernel);
    as_fill(plane, layer->border, (size_t)(pitch * across.needed));
    for (int from = 0; from < depth_in; from++) {
        fill_plane(&along, &across, in + from, pitch, plane);
        for (int channel = from * multiplier; channel < (from + 1) * multiplier; channel++) {
            order_weights(channels, channel, &along, &across, weights);
            if (along.kernel == 3 && across.kernel == 3)
                make_channel(&results, channel, plane, pitch, weights, &along, &across, 3, 3, out + channel);
            else
                make_channel(&results, channel, plane, pitch, weights, &along, &across, across.kernel, along.kernel,
                             out + channel);
        }
    }
}

#endif
