/*
 * The inner kernels of as_conv_paired.c: sums of products for a group of output positions or a single one, all channels.
 * How weights are packed for them stands in paired_steps.py of the generator. A step is two inputs (taps) of a window.
 */
#ifndef AS_BLOCK_H
#define AS_BLOCK_H

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) || !defined(__arm__)
/* A step is one word for each position: two inputs of 16 bits. */
#define AS_PAIRED_INPUTS 1
enum { AS_POSITIONS = 4, AS_STEP_WORDS = 1 };
#else
/* A step is two words for each position: an input of 32 bits of each, then another. */
#define AS_PAIRED_INPUTS 0
enum { AS_POSITIONS = 2, AS_STEP_WORDS = 2 };
#endif

typedef struct {
    const uint32_t *x, *x_end; /* the inputs, interleaved */
    int8_t *out, *out_end;     /* of the first position */
    int32_t stride;            /* bytes from one position's outputs to the next's */
    int32_t twice_zero;        /* 2 * zero point of the output + 1 */
    const uint32_t *table;     /* pairs of weights for an index byte of a codebook */
} as_block;

void as_block_group(const as_block *block, const void *packed);
void as_block_group_codebook(const as_block *block, const void *packed);
void as_block_single(const as_block *block, const void *packed);
void as_block_single_codebook(const as_block *block, const void *packed);

/* Only steps with a weight that is not zero. */
void as_block_group_sparse(const as_block *block, const void *packed);
void as_block_single_sparse(const as_block *block, const void *packed);

/* Spreads `count` inputs at each of a group's places; gives where the next ones go. */
uint32_t *as_spread_group(const int8_t *const from[AS_POSITIONS], int count, uint32_t *to);
uint32_t *as_spread_single(const int8_t *from, int count, uint32_t *to);

/* As as_spread_group, for `quads` (not 0) times four inputs at each of four places; in assembler. */
uint32_t *as_spread4(const int8_t *const from[4], uint32_t *to, int quads);

#endif
