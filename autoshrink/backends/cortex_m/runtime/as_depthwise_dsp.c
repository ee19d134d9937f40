/*
 * Depthwise convolution for cores with the DSP extension: one channel's plane at a time, spread to 16 bits with its
 * border. Lines of the plane run along the image's longer side, so that two outputs at a time are seldom one too many.
 */
#include "as_kernels.h"
#include "as_lines_dsp.h"
#include "as_simd.h"

/* One direction of a window. */
typedef struct {
    int in, out, kernel, stride, pad;
    int step_in, step_out; /* bytes */
    int used;              /* inputs that any window reaches */
    int needed;            /* with the border */
} side;

static side make_side(int in, int out, int kernel, int stride, int pad, int step_in, int step_out)
{
    side s = {in, out, kernel, stride, pad, step_in, step_out, in, (out - 1) * stride + kernel};
    if (s.used > s.needed - pad)
        s.used = s.needed - pad;
    return s;
}

/* Any kernel; `pairs` of weights for each of its lines. */
static void any_lines(as_lines *l, int kernel_lines, int pairs, int stride, int line_stride)
{
    const int count = 2 * l->pairs + l->odd, pitch = l->pitch / 2;
    for (int line = 0; line < l->lines; line++, l->plane += line_stride * pitch, l->out += l->line_step) {
        const int16_t *at = l->plane;
        for (int i = 0; i < count; i++, at += stride, l->out += l->step) {
            const int16_t *from = at;
            const uint32_t *weights = l->weights;
            int32_t sum = l->bias;
            for (int j = 0; j < kernel_lines; j++, from += pitch) {
                for (int k = 0; k < pairs; k++) {
                    uint32_t x;
                    __builtin_memcpy(&x, from + 2 * k, 4);
                    sum = as_smlad(x, *weights++, sum);
                }
            }
            *l->out = (int8_t)as_scale_twice(sum, l->factor, l->rounding, l->shift);
        }
    }
}

/* The weights of a channel; those of a codebook are decoded. */
static const int8_t *taps_of(const as_channels *channels, int channel, int taps, int8_t *decoded)
{
    if (!channels->codebook)
        return channels->weights + channel * taps;
    for (int i = 0, index = channel * taps; i < taps; i++, index++)
        decoded[i] = channels->codebook[((uint8_t)channels->weights[index / 2] >> (index % 2 * 4)) & 15];
    return decoded;
}

static uint32_t twice(int low, int high)
{
    return (uint16_t)(2 * low) | (uint32_t)high << 17;
}

/* Pairs of weights, times two. One tap to the next along a line of the kernel is `step`, one line to the next `line`. */
static void pack(const int8_t *taps, int lines, int length, int step, int line, uint32_t *to)
{
    for (int i = 0; i < lines; i++, taps += line)
        for (int j = 0; j < length; j += 2)
            *to++ = twice(taps[j * step], j + 1 < length ? taps[(j + 1) * step] : 0);
}

static void pack_3x3(const int8_t *taps, int step, int line, uint32_t *to)
{
    for (int i = 0; i < 3; i++, taps += line) {
        *to++ = twice(taps[0], taps[step]);
        *to++ = twice(taps[step], taps[2 * step]);
    }
}

static void fill_plane(const side *along, const side *across, const int8_t *in, int pitch, int16_t *plane)
{
    plane += across->pad * pitch + along->pad;
    for (int line = 0; line < across->used; line++, in += across->step_in, plane += pitch) {
        const int8_t *from = in;
        const int step = along->step_in;
        int16_t *to = plane;
        int left = along->used;
        for (; left >= 4; left -= 4, from += 2 * step, to += 4) {
            to[0] = from[0];
            to[1] = from[step];
            from += 2 * step;
            to[2] = from[0];
            to[3] = from[step];
        }
        for (; left > 0; left--, from += step)
            *to++ = *from;
    }
}

void as_depthwise_dsp(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch)
{
    const int along_height = layer->out_h > layer->out_w;
    const int depth_in = layer->in_c, depth_out = layer->out_c, multiplier = depth_out / depth_in;
    const side height = make_side(layer->in_h, layer->out_h, layer->kernel_h, layer->stride_h, layer->pad_top,
                                  layer->in_w * depth_in, layer->out_w * depth_out);
    const side width = make_side(layer->in_w, layer->out_w, layer->kernel_w, layer->stride_w, layer->pad_left, depth_in,
                                 depth_out);
    const side along = along_height ? height : width, across = along_height ? width : height;
    const int three = AS_DSP && along.kernel == 3 && across.kernel == 3 && along.stride == across.stride && along.stride < 3;
    const int pitch = (along.needed + 4) & ~1, pairs = (along.kernel + 1) / 2;
    uint32_t *const weights = scratch;
    int16_t *const plane = (int16_t *)(void *)(weights + (across.kernel * pairs > 6 ? across.kernel * pairs : 6));
    const int taps = along.kernel * across.kernel;
    const int tap_step = along_height ? across.kernel : 1, tap_line = along_height ? 1 : along.kernel;
    int8_t *const decoded = (int8_t *)(plane + pitch * across.needed);
    for (int i = 0; i < pitch * across.needed; i++)
        plane[i] = layer->border;
    for (int from = 0; from < depth_in; from++) {
        fill_plane(&along, &across, in + from, pitch, plane);
        for (int channel = from * multiplier; channel < (from + 1) * multiplier; channel++) {
            const int shift = -channels->shift[channel] - 1;
            as_lines lines = {
                plane, 2 * pitch, 2 * channels->bias[channel], shift, channels->multiplier[channel],
                (2 * layer->zero_point + 1) * (1 << shift), out + channel, along.step_out,
                across.step_out - along.out * along.step_out, along.out / 2, along.out % 2, across.out, 0, weights,
            };
            const int8_t *own = taps_of(channels, channel, taps, decoded);
            if (three)
                pack_3x3(own, tap_step, tap_line, weights);
            else
                pack(own, across.kernel, along.kernel, tap_step, tap_line, weights);
#if AS_DSP
            if (three && along.stride == 1)
                as_lines_3x3(&lines);
            else if (three)
                as_lines_3x3_by_2(&lines);
            else
#endif
                any_lines(&lines, across.kernel, pairs, along.stride, across.stride);
        }
    }
    if (layer->low > -128 || layer->high < 127)
        as_clamp(out, out, (size_t)(layer->out_h * layer->out_w * depth_out), layer->low, layer->high);
}
