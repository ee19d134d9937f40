/* The inner kernels of as_conv_dsp.c; how weights are packed for them stands in dsp_steps.py of the generator. */
#ifndef AS_BLOCK_DSP_H
#define AS_BLOCK_DSP_H

#include <stdint.h>

/* Four output positions, all channels. */
typedef struct {
    const uint32_t *x, *x_end; /* pairs of inputs: for each step one word of each position */
    int8_t *out, *out_end;     /* of the first position */
    int32_t stride;            /* bytes from one position's outputs to the next's */
    int32_t twice_zero;        /* 2 * zero point of the output + 1 */
    const uint32_t *table;     /* pairs of weights for an index byte of a codebook */
} as_block;

void as_block4(const as_block *block, const void *packed);
void as_block4_codebook(const as_block *block, const void *packed);

/* One output position; `x` has one word for each step. */
void as_block1(const as_block *block, const void *packed);
void as_block1_codebook(const as_block *block, const void *packed);

/* Spreads groups of four inputs at four places to pairs of 16 bits, interleaved as as_block4 reads them. */
void as_spread4(const int8_t *a, const int8_t *b, const int8_t *c, const int8_t *d, uint32_t *to, int32_t groups);

#endif
