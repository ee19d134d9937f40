/*
 * Depthwise convolutions of 3x3 for cores with the DSP extension, two outputs (a, b) at a time.
 * The prototypes stand in as_lines_dsp.h.
 */
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

        .syntax unified
        .thumb

        .equ    PLANE, 0                /* as_lines */
        .equ    PITCH, 4
        .equ    BIAS, 8
        .equ    SHIFT, 12
        .equ    FACTOR, 16
        .equ    OUT, 24
        .equ    STEP, 28
        .equ    LINE_STEP, 32
        .equ    PAIRS, 36
        .equ    ODD, 40
        .equ    LINES, 44
        .equ    END, 48
        .equ    WEIGHTS, 52

        .macro  function name
        .section .text.\name, "ax", %progbits
        .balign 4
        .global \name
        .type   \name, %function
        .thumb_func
\name:
        .endm

/* Inputs x0...x3 in r8, r9; weights (w0, w1), (w1, w2); sums r10 (a), r11 (b). */
        .macro  line_by_1 w01, w12, b=r11
        smlatb  r11, r8, \w01, \b
        smlad   r10, r8, \w01, r10
        smlabt  r10, r9, \w12, r10
        smlad   r11, r9, \w12, r11
        .endm

/* Inputs x0...x3 in r8, r9, and x4 still to be read. */
        .macro  line_by_2 w01, w12, from, offset, b=r11
        smlad   r11, r9, \w01, \b
        smlad   r10, r8, \w01, r10
        ldr     r8, [\from, #\offset]
        smlabt  r10, r9, \w12, r10
        smlabt  r11, r8, \w12, r11
        .endm

        .macro  lines_3x3 by
        push    {r4-r11, lr}
        mov     lr, r0
        ldr     r12, [lr, #WEIGHTS]
        ldmia   r12, {r2-r7}
        ldrd    r0, r1, [lr, #PLANE]
1:                                      /* a line of outputs */
        ldr     r8, [lr, #PAIRS]
        add     r8, r0, r8, lsl #(\by + 1)
        str     r8, [lr, #END]
        cmp     r0, r8
        beq     3f
2:                                      /* two outputs */
        ldr     r10, [lr, #BIAS]
        add     r12, r0, r1
        .if     \by == 1
        ldrd    r8, r9, [r0], #4
        line_by_1 r2, r3, r10
        ldrd    r8, r9, [r12]
        line_by_1 r4, r5
        add     r12, r12, r1
        ldrd    r8, r9, [r12]
        line_by_1 r6, r7
        .else
        ldrd    r8, r9, [r0], #8
        line_by_2 r2, r3, r0, 0, r10
        ldrd    r8, r9, [r12]
        line_by_2 r4, r5, r12, 8
        add     r12, r12, r1
        ldrd    r8, r9, [r12]
        line_by_2 r6, r7, r12, 8
        .endif
        ldrd    r8, r9, [lr, #FACTOR]   /* and rounding */
        smmlar  r12, r10, r8, r9
        smmlar  r8, r11, r8, r9
        ldr     r9, [lr, #SHIFT]
        add     r12, r12, r10, asr #31
        add     r8, r8, r11, asr #31
        asr     r12, r12, r9
        asr     r8, r8, r9
        ldrd    r10, r11, [lr, #OUT]    /* and step */
        ssat    r12, #8, r12, asr #1
        ssat    r8, #8, r8, asr #1
        strb    r12, [r10]
        ldr     r9, [lr, #END]
        strb    r8, [r10, r11]
        add     r10, r10, r11, lsl #1
        cmp     r0, r9
        str     r10, [lr, #OUT]
        bne     2b
3:
        ldr     r8, [lr, #ODD]
        cmp     r8, #0
        beq     4f
        ldr     r10, [lr, #BIAS]
        add     r12, r0, r1
        ldrd    r8, r9, [r0]
        smlad   r10, r8, r2, r10
        smlabt  r10, r9, r3, r10
        ldrd    r8, r9, [r12]
        add     r12, r12, r1
        smlad   r10, r8, r4, r10
        smlabt  r10, r9, r5, r10
        ldrd    r8, r9, [r12]
        smlad   r10, r8, r6, r10
        smlabt  r10, r9, r7, r10
        ldrd    r8, r9, [lr, #FACTOR]
        smmlar  r12, r10, r8, r9
        ldr     r9, [lr, #SHIFT]
        add     r12, r12, r10, asr #31
        asr     r12, r12, r9
        ldrd    r10, r11, [lr, #OUT]
        ssat    r12, #8, r12, asr #1
        strb    r12, [r10]
        add     r10, r10, r11
        str     r10, [lr, #OUT]
4:
        ldr     r8, [lr, #PLANE]
        ldr     r9, [lr, #OUT]
        add     r8, r8, r1, lsl #(\by - 1)
        ldr     r10, [lr, #LINE_STEP]
        mov     r0, r8
        add     r9, r9, r10
        str     r8, [lr, #PLANE]
        str     r9, [lr, #OUT]
        ldr     r8, [lr, #LINES]
        subs    r8, r8, #1
        str     r8, [lr, #LINES]
        bne     1b
        pop     {r4-r11, pc}
        .endm

        function as_lines_3x3
        lines_3x3 1
        .size   as_lines_3x3, . - as_lines_3x3

        function as_lines_3x3_by_2
        lines_3x3 2
        .size   as_lines_3x3_by_2, . - as_lines_3x3_by_2

#endif

#if defined(__ELF__) && defined(__linux__)
        .section .note.GNU-stack, "", %progbits
#endif
