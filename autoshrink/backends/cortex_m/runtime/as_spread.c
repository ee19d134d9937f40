/* Inputs from int8 to the words that as_block.h describes: of every four, the first with the third, then the others. */
#include "as_block.h"

#if AS_PAIRED_INPUTS

static uint32_t pair(int low, int high)
{
    return (uint16_t)low | (uint32_t)(uint16_t)high << 16;
}

/* One position; its words are `apart`. */
static uint32_t *spread(const int8_t *from, int count, uint32_t *to, int apart)
{
    for (; count >= 4; count -= 4, from += 4, to += 2 * apart) {
        to[0] = pair(from[0], from[2]);
        to[apart] = pair(from[1], from[3]);
    }
    if (count == 0)
        return to;
    *to = pair(from[0], count == 1 ? 0 : from[count - 1]);
    if (count == 3)
        *(to += apart) = pair(from[1], 0);
    return to + apart;
}

uint32_t *as_spread_group(const int8_t *const from[AS_POSITIONS], int count, uint32_t *to)
{
#if defined(__arm__)
    const int quads = count / 4, rest = count % 4;
    if (quads)
        to = as_spread4(from, to, quads);
    if (rest) {
        for (int i = 0; i < AS_POSITIONS; i++)
            spread(from[i] + 4 * quads, rest, to + i, AS_POSITIONS);
        to += (rest + 1) / 2 * AS_POSITIONS;
    }
    return to;
#else
    uint32_t *after = to;
    for (int i = 0; i < AS_POSITIONS; i++)
        after = spread(from[i], count, to + i, AS_POSITIONS);
    return after - (AS_POSITIONS - 1);
#endif
}

uint32_t *as_spread_single(const int8_t *from, int count, uint32_t *to)
{
    return spread(from, count, to, 1);
}

#else

/* `apart` positions side by side. */
static inline uint32_t *spread(const int8_t *a, const int8_t *b, int count, uint32_t *to, int apart)
{
    static const uint8_t order[4] = {0, 2, 1, 3};
    for (; count >= 4; count -= 4, a += 4, b += 4) {
        for (int i = 0; i < 4; i++, to += apart) {
            to[0] = (uint32_t)a[order[i]];
            if (apart > 1)
                to[1] = (uint32_t)b[order[i]];
        }
    }
    for (int i = 0; i < (count + 1) / 2 * 2; i++, to += apart) {
        const int place = count == 3 ? order[i] : i;
        to[0] = place < count ? (uint32_t)a[place] : 0;
        if (apart > 1)
            to[1] = place < count ? (uint32_t)b[place] : 0;
    }
    return to;
}

uint32_t *as_spread_group(const int8_t *const from[AS_POSITIONS], int count, uint32_t *to)
{
    return spread(from[0], from[1], count, to, 2);
}

uint32_t *as_spread_single(const int8_t *from, int count, uint32_t *to)
{
    return spread(from, from, count, to, 1);
}

#endif
