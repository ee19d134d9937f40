/*
 * The kernels that a generated model calls. No heap, no globals; every buffer comes from the caller.
 * From Armv7-M on they read words at any address: CCR.UNALIGN_TRP must be clear, as it is after a reset.
 */
#ifndef AS_KERNELS_H
#define AS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* A window that slides over an image in NHWC layout; inputs beyond the border have the value `border`. */
typedef struct {
    int32_t in_c, out_c;
    uint16_t in_h, in_w, out_h, out_w;
    uint16_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    int8_t border, zero_point, low, high; /* of the output: zero point and bounds of the fused activation */
} as_window;

/* Constants of a layer's output channels: out = clamp(scale(bias + sum) + zero_point). */
typedef struct {
    const int8_t *weights; /* out_c rows; or 4-bit indices into a codebook, two to a byte, the first in the low half:
                              rows are whole bytes, but those of a depthwise layer follow each other */
    const int8_t *codebook; /* 16 values, or NULL */
    const int32_t *bias;
    const int32_t *multiplier; /* Q31 */
    const int8_t *shift;       /* to the left; negative: to the right */
} as_channels;

/* Portable: any core, any quantization. */
void as_conv(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch);
void as_conv_codebook(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch);
void as_depthwise(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch);

/* Quicker, where the generator has shown that no intermediate value overflows; `packed` are its words. */
void as_conv_paired(const as_window *layer, const uint32_t *packed, const int8_t *in, int8_t *out, void *scratch);
void as_conv_paired_sparse(const as_window *layer, const uint32_t *packed, const int8_t *in, int8_t *out, void *scratch);
void as_conv_paired_codebook(const as_window *layer, const uint32_t *packed, const int8_t *codebook, const int8_t *in,
                             int8_t *out, void *scratch);
/* The same for one output position with all of the input. */
void as_dense_paired(const as_window *layer, const uint32_t *packed, const int8_t *in, int8_t *out, void *scratch);
void as_dense_paired_sparse(const as_window *layer, const uint32_t *packed, const int8_t *in, int8_t *out, void *scratch);
void as_dense_paired_codebook(const as_window *layer, const uint32_t *packed, const int8_t *codebook, const int8_t *in,
                              int8_t *out, void *scratch);
/* Not for dilated kernels. */
void as_depthwise_dsp(const as_window *layer, const as_channels *channels, const int8_t *in, int8_t *out, void *scratch);

/* Padding counts for nothing; `border` of the window is not used. */
void as_average_pool(const as_window *layer, const int8_t *in, int8_t *out);
void as_max_pool(const as_window *layer, const int8_t *in, int8_t *out);

/* A mean over the middle of (outer, middle, inner). */
typedef struct {
    int32_t outer, middle, inner, multiplier;
    int8_t shift, zero_in, zero_out;
} as_reduction;
void as_mean(const as_reduction *layer, const int8_t *in, int8_t *out);

/* Two operands and a result: factors Q31, shifts to the left, zero points, bounds of the fused activation. In a sum, the
   second operand is the one with the larger scale, and has no factor of its own. */
typedef struct {
    int32_t multiplier[3];
    int8_t shift[3], zero[3], low, high;
    int8_t sign[2]; /* of the operands in a sum */
} as_binary;
/* What each value of the first operand adds; it pays where there are several hundred. */
void as_add_table(const as_binary *layer, int32_t table[256]);
/* One step through `out` is a step of `step_a` and `step_b` (0 or 1) through the operands. `table` may be NULL. */
void as_add(const as_binary *layer, const int32_t *table, const int8_t *a, int step_a, const int8_t *b, int step_b,
            int8_t *out, size_t size);
void as_multiply(const as_binary *layer, const int32_t *table, const int8_t *a, int step_a, const int8_t *b, int step_b,
                 int8_t *out, size_t size);

/* Loops around a run of one of the two above: three sizes, and what a step of each skips in the operands. */
typedef struct {
    int32_t size[3], skip_a[3], skip_b[3], run;
    int8_t step_a, step_b;
} as_broadcast;
typedef void as_binary_run(const as_binary *, const int32_t *, const int8_t *, int, const int8_t *, int, int8_t *, size_t);
void as_broadcasting(const as_broadcast *loops, as_binary_run *run, const as_binary *layer, const int32_t *table,
                     const int8_t *a, const int8_t *b, int8_t *out);

void as_table(const int8_t *table, const int8_t *in, int8_t *out, size_t size);
void as_softmax(const int8_t *in, int8_t *out, int rows, int depth, int32_t multiplier, int shift, int least);

/* Copies rows of `run` bytes to rows that are `stride` bytes apart. */
void as_scatter_rows(const int8_t *in, int8_t *out, int rows, int run, int stride);
/* out[i, j, k, l] = in[i * step[0] + j * step[1] + k * step[2] + l * step[3]] */
void as_permute(const int8_t *in, int8_t *out, const int32_t size[4], const int32_t step[4]);
/* An image (dims 0…3) into the middle of a larger one that is filled with `value`. */
void as_pad(const int8_t *in, int8_t *out, const int32_t size[4], const int32_t before[4], const int32_t after[4],
            int value);

/* Copies the inputs of one output position, row by row, to kernel_h * kernel_w * in_c bytes. */
void as_gather(const as_window *layer, const int8_t *in, int y, int x, int8_t *to);
void as_copy(int8_t *to, const int8_t *from, size_t size);
void as_fill(int8_t *to, int value, size_t size);
/* Keeps values between two bounds; `in` may be `out`. */
void as_clamp(const int8_t *in, int8_t *out, size_t size, int low, int high);

#endif
