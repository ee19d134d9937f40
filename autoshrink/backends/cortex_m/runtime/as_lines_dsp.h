/* The inner kernels of as_depthwise_dsp.c: all outputs of one channel, line by line, from a plane of 16-bit inputs. */
#ifndef AS_LINES_DSP_H
#define AS_LINES_DSP_H

#include <stdint.h>

typedef struct {
    const int16_t *plane;
    int32_t pitch;     /* bytes from one line of the plane to the next */
    int32_t bias;      /* twice the channel's */
    int32_t shift;     /* one less than the channel's */
    int32_t factor, rounding;
    int8_t *out;
    int32_t step;      /* bytes from one output to the next */
    int32_t line_step; /* bytes from behind the last output of a line to the first of the next */
    int32_t pairs, odd; /* outputs of a line: twice `pairs`, and `odd` */
    int32_t lines;
    int32_t end;        /* used by the kernels */
    const uint32_t *weights; /* for each line of the kernel its pairs, times two */
} as_lines;

/* A kernel of 3x3, which moves by 1 or 2 in both directions. Its weights are (w0, w1), (w1, w2) for each line. */
void as_lines_3x3(as_lines *lines);
void as_lines_3x3_by_2(as_lines *lines);

#endif
