/* Convolution and fully connected layer with weights packed in pairs: a group of output positions at a time. */
#include "as_block.h"
#include "as_kernels.h"

enum { TABLE_WORDS = 256 };

/* A window is read in runs of neighboring inputs: one for each of its rows, or, where it is dilated, for each tap. */
typedef struct {
    const as_window *layer;
    const int8_t *in;
    int8_t *border; /* a run of nothing but border, then one for each position that reaches over it */
    int columns, length, per_row, kernel_h;
    int row_step, tap_step;      /* bytes from a window's row, or dilated tap, to the next */
    int last_top, last_left; /* of windows that lie inside */
    int pitch;
} reader;

/* Where a window starts. */
typedef struct {
    int top, left;
    const int8_t *from;
} place;

/* Puts a run together that reaches over the left or right border. */
static const int8_t *with_border(const reader *r, const int8_t *row, int column, int8_t *to)
{
    const int depth = r->layer->in_c, width = r->layer->in_w;
    int before = column < 0 ? -column : 0, after = column + r->columns - width;
    before = before > r->columns ? r->columns : before;
    after = after < 0 ? 0 : after > r->columns ? r->columns : after;
    const int inside = r->columns - before - after;
    as_fill(to, r->layer->border, (size_t)(before * depth));
    if (inside > 0)
        as_copy(to + before * depth, row + (column + before) * depth, (size_t)(inside * depth));
    as_fill(to + (r->columns - after) * depth, r->layer->border, (size_t)(after * depth));
    return to;
}

/* Finds run (i, j) of a window. */
static inline const int8_t *find(const reader *r, const place *at, int i, int j, int position)
{
    const as_window *const layer = r->layer;
    const int row = at->top + i * layer->dilation_h, column = at->left + j * layer->dilation_w;
    if ((unsigned)row >= layer->in_h)
        return r->border;
    if (column >= 0 && column + r->columns <= layer->in_w)
        return at->from + i * r->row_step + j * r->tap_step;
    return with_border(r, r->in + row * r->pitch, column, r->border + (1 + position) * r->length);
}

static uint32_t *spread_single(const reader *r, const place *at, uint32_t *to)
{
    for (int i = 0; i < r->kernel_h; i++)
        for (int j = 0; j < r->per_row; j++)
            to = as_spread_single(find(r, at, i, j, 0), r->length, to);
    return to;
}

/* A group of windows, of which some reach over the border. */
static uint32_t *spread_crossing(const reader *r, const place at[AS_POSITIONS], uint32_t *to)
{
    for (int i = 0; i < r->kernel_h; i++) {
        for (int j = 0; j < r->per_row; j++) {
            const int8_t *from[AS_POSITIONS];
            for (int k = 0; k < AS_POSITIONS; k++)
                from[k] = find(r, &at[k], i, j, k);
            to = as_spread_group(from, r->length, to);
        }
    }
    return to;
}

static void spread_inside(const reader *r, const int8_t *first, int step, uint32_t *to)
{
    for (int i = 0; i < r->kernel_h; i++, first += r->row_step) {
        const int8_t *from[AS_POSITIONS];
        for (int k = 0; k < AS_POSITIONS; k++)
            from[k] = first + k * step;
        for (int j = 0; j < r->per_row; j++) {
            to = as_spread_group(from, r->length, to);
            for (int k = 0; k < AS_POSITIONS; k++)
                from[k] += r->tap_step;
        }
    }
}

typedef void kernel(const as_block *block, const void *packed);

static void convolve(const as_window *layer, const uint32_t *packed, const int8_t *in, int8_t *out, uint32_t *x,
                     const uint32_t *table, kernel *group, kernel *single)
{
    const int depth = layer->in_c, pitch = layer->in_w * depth, out_c = layer->out_c, out_w = layer->out_w;
    const int columns = layer->dilation_w == 1 ? layer->kernel_w : 1, per_row = layer->kernel_w / columns;
    const int length = columns * depth, steps = layer->kernel_h * per_row * ((length + 1) / 2);
    uint32_t *const x_end = x + AS_POSITIONS * AS_STEP_WORDS * steps;
    const reader r = {
        layer, in, (int8_t *)x_end, columns, length, per_row, layer->kernel_h, layer->dilation_h * pitch,
        layer->dilation_w * depth, layer->in_h - (layer->kernel_h - 1) * layer->dilation_h - 1,
        layer->in_w - (layer->kernel_w - 1) * layer->dilation_w - 1, pitch,
    };
    as_block block = {x, x_end, out, out + out_c, out_c, 2 * layer->zero_point + 1, table};
    const int clamped = layer->low > -128 || layer->high < 127;
    const int step = layer->stride_w, first = -layer->pad_left, step_from = step * depth;
    const int next_row = layer->stride_h * pitch - out_w * step_from;
    int top = -layer->pad_top, left = first, column = 0, todo = layer->out_h * out_w, border = 0;
    const int8_t *from = in + top * pitch + left * depth;
    while (todo > 0) {
        const int count = todo >= AS_POSITIONS ? AS_POSITIONS : 1, last = left + (AS_POSITIONS - 1) * step;
        if (column + AS_POSITIONS <= out_w && (top | left | (r.last_top - top) | (r.last_left - last)) >= 0) {
            spread_inside(&r, from, step_from, x);
            group(&block, packed);
            left += AS_POSITIONS * step;
            from += AS_POSITIONS * step_from;
            column += AS_POSITIONS;
            if (column == out_w) {
                column = 0, left = first;
                top += layer->stride_h, from += next_row;
            }
        } else {
            place at[AS_POSITIONS];
            int outside = 0; /* negative if a window reaches over the border */
            for (int k = 0; k < count; k++) {
                at[k] = (place){top, left, from};
                outside |= top | left | (r.last_top - top) | (r.last_left - left);
                left += step;
                from += step_from;
                if (++column == out_w) {
                    column = 0, left = first;
                    top += layer->stride_h, from += next_row;
                }
            }
            if (outside < 0 && !border)
                as_fill(r.border, layer->border, (size_t)length), border = 1;
            if (count == 1) {
                block.x_end = spread_single(&r, at, x);
                single(&block, packed);
            } else {
                spread_crossing(&r, at, x);
                group(&block, packed);
            }
        }
        const int made = count * out_c;
        if (clamped)
            as_clamp(block.out, block.out, (size_t)made, layer->low, layer->high);
        block.out += made, block.out_end += made, todo -= count;
    }
}

static void dense(const as_window *layer, const uint32_t *packed, const int8_t *in, int8_t *out, uint32_t *x,
                  const uint32_t *table, kernel *single)
{
    uint32_t *const x_end = as_spread_single(in, layer->in_c, x);
    const as_block block = {x, x_end, out, out + layer->out_c, 0, 2 * layer->zero_point + 1, table};
    single(&block, packed);
    if (layer->low > -128 || layer->high < 127)
        as_clamp(out, out, (size_t)layer->out_c, layer->low, layer->high);
}

static uint32_t pair(int low, int high)
{
    return (uint16_t)low | (uint32_t)(uint16_t)high << 16;
}

/* Every pair of 4-bit indices as a pair of weights. */
static const uint32_t *decoded(const int8_t *codebook, uint32_t *table)
{
    for (int high = 0; high < 16; high++)
#pragma GCC unroll 16
        for (int low = 0; low < 16; low++)
            *table++ = pair(codebook[low], codebook[high]);
    return table - TABLE_WORDS;
}

void as_conv_paired(const as_window *layer, const uint32_t *packed, const int8_t *in, int8_t *out, void *scratch)
{
    convolve(layer, packed, in, out, scratch, NULL, as_block_group, as_block_single);
}

void as_conv_paired_sparse(const as_window *layer, const uint32_t *packed, const int8_t *in, int8_t *out, void *scratch)
{
    convolve(layer, packed, in, out, scratch, NULL, as_block_group_sparse, as_block_single_sparse);
}

void as_conv_paired_codebook(const as_window *layer, const uint32_t *packed, const int8_t *codebook, const int8_t *in,
                             int8_t *out, void *scratch)
{
    const uint32_t *table = decoded(codebook, scratch);
    uint32_t *const x = (uint32_t *)scratch + TABLE_WORDS;
    convolve(layer, packed, in, out, x, table, as_block_group_codebook, as_block_single_codebook);
}

void as_dense_paired(const as_window *layer, const uint32_t *packed, const int8_t *in, int8_t *out, void *scratch)
{
    dense(layer, packed, in, out, scratch, NULL, as_block_single);
}

void as_dense_paired_sparse(const as_window *layer, const uint32_t *packed, const int8_t *in, int8_t *out, void *scratch)
{
    dense(layer, packed, in, out, scratch, NULL, as_block_single_sparse);
}

void as_dense_paired_codebook(const as_window *layer, const uint32_t *packed, const int8_t *codebook, const int8_t *in,
                              int8_t *out, void *scratch)
{
    const uint32_t *table = decoded(codebook, scratch);
    dense(layer, packed, in, out, (uint32_t *)scratch + TABLE_WORDS, table, as_block_single_codebook);
}
