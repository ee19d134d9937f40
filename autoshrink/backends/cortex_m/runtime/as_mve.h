/* TFLite's scaling of four sums at once, for cores with the M-profile vector extension. */
#ifndef AS_MVE_H
#define AS_MVE_H

#if defined(__ARM_FEATURE_MVE)

#include <arm_mve.h>

#include "as_kernels.h"

/* How a layer's results are made; a copy of its fields, since writing results could change the layer for all C knows. */
typedef struct {
    const int32_t *bias, *multiplier;
    const int8_t *shift;
    int32x4_t low, high;
    int32_t zero_point;
} as_results;

static inline as_results as_results_of(const as_window *layer, const as_channels *channels)
{
    return (as_results){channels->bias, channels->multiplier, channels->shift, vdupq_n_s32(layer->low),
                        vdupq_n_s32(layer->high), layer->zero_point};
}

/* Four sums of one channel, without its bias, to int8 in lanes of 32 bits. */
static inline int32x4_t as_scaled4(const as_results *results, int channel, int32x4_t sums)
{
    const int shift = results->shift[channel];
    sums = vaddq_n_s32(sums, results->bias[channel]);
    if (shift > 0)
        sums = vshlq_r_s32(sums, shift);
    sums = vqrdmulhq_n_s32(sums, results->multiplier[channel]);
    if (shift < 0) {
        /* Halves are rounded away from zero. */
        sums = vaddq_s32(sums, vshrq_n_s32(sums, 31));
        sums = vrshlq_n_s32(sums, shift);
    }
    sums = vaddq_n_s32(sums, results->zero_point);
    return vmaxq_s32(vminq_s32(sums, results->high), results->low);
}

#endif
#endif
