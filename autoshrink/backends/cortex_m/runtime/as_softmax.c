/* Softmax over rows of int8, with exp and division in fixed point as TFLite does them. */
#include "as_fixed.h"
#include "as_kernels.h"

/* Not worth its flash in a hurry: this runs for a few values. */
#define SMALL __attribute__((cold))

enum { INTEGER_BITS = 5, SUM_BITS = 12, QUARTER = 1 << (31 - INTEGER_BITS - 2) };

/* a * 2^exponent, saturated. */
SMALL static int32_t shifted(int32_t a, int exponent)
{
    const int32_t most = INT32_MAX >> exponent;
    return a > most ? INT32_MAX : a < -most - 1 ? INT32_MIN : (int32_t)((uint32_t)a << exponent);
}

/* exp(a) in Q0.31 for a <= 0 in Q5.26. */
SMALL static int32_t exp_of(int32_t a)
{
    static const int32_t factors[] = {1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242};
    if (a == 0)
        return INT32_MAX;
    const int32_t low = (a & (QUARTER - 1)) - QUARTER;
    /* A series around -1/8. */
    const int32_t x = (int32_t)((uint32_t)low << INTEGER_BITS) + (1 << 28);
    const int32_t x2 = as_high_multiply(x, x), x3 = as_high_multiply(x2, x), x4 = as_high_multiply(x2, x2);
    const int32_t series = as_high_multiply(as_divide_by_power(x4, 2) + x3, 715827883) + x2;
    int32_t result = 1895147668 + as_high_multiply(x + as_divide_by_power(series, 1), 1895147668);
    const int32_t rest = low - a;
    for (int bit = 0; bit < 7; bit++)
        if (rest & ((int32_t)QUARTER << bit))
            result = as_high_multiply(result, factors[bit]);
    return result;
}

/* 1 / (1 + a) in Q0.31 for a in [0, 1), by three Newton-Raphson steps. */
SMALL static int32_t reciprocal_of_one_plus(int32_t a)
{
    const int32_t half = (int32_t)(((uint32_t)a + INT32_MAX + 1) >> 1);
    int32_t x = 1515870810 + as_high_multiply(half, -1010580540);
    for (int step = 0; step < 3; step++)
        x += shifted(as_high_multiply(x, (1 << 29) - as_high_multiply(half, x)), 2);
    return shifted(x, 1);
}

/* Differences to the largest value below `least` count as 0. */
SMALL void as_softmax(const int8_t *in, int8_t *out, int rows, int depth, int32_t multiplier, int shift, int least)
{
    for (; rows; rows--, in += depth, out += depth) {
        int most = -128;
        for (int i = 0; i < depth; i++)
            most = in[i] > most ? in[i] : most;
        int32_t sum = 0;
        for (int i = 0; i < depth; i++)
            if (in[i] - most >= least)
                sum += as_divide_by_power(exp_of(as_scale(in[i] - most, multiplier, shift)), SUM_BITS);
        const int zeros = __builtin_clz((unsigned)sum);
        const int32_t scale = reciprocal_of_one_plus((int32_t)(((uint32_t)sum << zeros) - (1u << 31)));
        for (int i = 0; i < depth; i++) {
            int32_t value = -128;
            if (in[i] - most >= least) {
                const int32_t exp = exp_of(as_scale(in[i] - most, multiplier, shift));
                value += as_divide_by_power(as_high_multiply(scale, exp), SUM_BITS - zeros + 31 - 8);
            }
            out[i] = (int8_t)as_between(value, -128, 127);
        }
    }
}
