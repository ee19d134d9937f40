/* Operators that only move data. */
#include "as_kernels.h"

void as_scatter_rows(const int8_t *in, int8_t *out, int rows, int run, int stride)
{
    for (; rows; rows--, in += run, out += stride)
        as_copy(out, in, (size_t)run);
}

void as_permute(const int8_t *in, int8_t *out, const int32_t size[4], const int32_t step[4])
{
    for (int i = 0; i < size[0]; i++)
        for (int j = 0; j < size[1]; j++)
            for (int k = 0; k < size[2]; k++) {
                const int8_t *from = in + i * step[0] + j * step[1] + k * step[2];
                for (int l = 0; l < size[3]; l++, from += step[3])
                    *out++ = *from;
            }
}

void as_pad(const int8_t *in, int8_t *out, const int32_t size[4], const int32_t before[4], const int32_t after[4],
            int value)
{
    for (int i = -before[0]; i < size[0] + after[0]; i++)
        for (int j = -before[1]; j < size[1] + after[1]; j++)
            for (int k = -before[2]; k < size[2] + after[2]; k++) {
                const int row = before[3] + size[3] + after[3];
                as_fill(out, value, (size_t)row);
                if (i >= 0 && i < size[0] && j >= 0 && j < size[1] && k >= 0 && k < size[2]) {
                    as_copy(out + before[3], in, (size_t)size[3]);
                    in += size[3];
                }
                out += row;
            }
}
