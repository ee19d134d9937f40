/*
 * Sums of products for cores without the DSP extension: two channels (a, b), two positions, inputs of 32 bits.
 * The prototypes stand in as_block.c, the order of the weights in paired_steps.py of the generator.
 */
#if defined(__arm__) && !defined(__ARM_FEATURE_DSP)

        .syntax unified
        .thumb

        .macro  function name
        .section .text.\name, "ax", %progbits
        .balign 4
        .global \name
        .type   \name, %function
        .thumb_func
\name:
        .endm

#if defined(__ARM_ARCH_6M__)

/* Sums lie in r8-r11, where only additions reach them. Two inputs in r2, r3; `b` holds 256 b + a, r7 a. */
        .macro  tap b
        movs    r6, r2
        muls    r6, \b, r6
        add     r10, r10, r6
        muls    \b, r3, \b
        add     r11, r11, \b
        muls    r2, r7, r2
        add     r8, r8, r2
        muls    r3, r7, r3
        add     r9, r9, r3
        .endm

        .macro  step
        ldmia   r1!, {r4}
        ldmia   r0!, {r2, r3}
        sxth    r5, r4
        sxtb    r7, r4
        tap     r5
        asrs    r4, r4, #16
        ldmia   r0!, {r2, r3}
        sxtb    r7, r4
        tap     r4
        .endm

/* The table is in r12. */
        .macro  codebook_step
        mov     r7, r12
        ldrb    r5, [r1, #0]
        ldrb    r4, [r1, #1]
        adds    r1, r1, #2
        lsls    r5, r5, #2
        lsls    r4, r4, #2
        ldr     r5, [r7, r5]            /* a's weights for both taps */
        ldr     r4, [r7, r4]            /* b's */
        ldmia   r0!, {r2, r3}
        sxth    r6, r5
        movs    r7, r2
        muls    r7, r6, r7
        add     r8, r8, r7
        muls    r6, r3, r6
        add     r9, r9, r6
        sxth    r6, r4
        muls    r2, r6, r2
        add     r10, r10, r2
        muls    r3, r6, r3
        add     r11, r11, r3
        asrs    r5, r5, #16
        asrs    r4, r4, #16
        ldmia   r0!, {r2, r3}
        movs    r7, r2
        muls    r7, r5, r7
        add     r8, r8, r7
        muls    r5, r3, r5
        add     r9, r9, r5
        muls    r2, r4, r2
        add     r10, r10, r2
        muls    r3, r4, r3
        add     r11, r11, r3
        .endm

        .macro  enter
        push    {r4-r7, lr}
        mov     r4, r8
        mov     r5, r9
        mov     r6, r10
        mov     r7, r11
        push    {r3-r7}
        mov     lr, r1
        mov     r1, r2
        movs    r4, #0
        mov     r8, r4
        mov     r9, r4
        mov     r10, r4
        mov     r11, r4
        .endm

        .macro  leave
        pop     {r3}
        mov     r4, r8
        mov     r5, r9
        mov     r6, r10
        mov     r7, r11
        stmia   r3!, {r4-r7}
        pop     {r4-r7}
        mov     r8, r4
        mov     r9, r5
        mov     r10, r6
        mov     r11, r7
        mov     r0, r1
        pop     {r4-r7, pc}
        .endm

        function as_dots2
        enter
        subs    r5, r0, #0
        mov     r4, lr
        subs    r4, r4, r5
        movs    r5, #48                 /* what is left over of four steps of 16 bytes comes first */
        ands    r4, r4, r5
        adds    r4, r4, r0
        mov     r12, r4
        b       2f
1:
        step
2:
        cmp     r0, r12
        bne     1b
        b       4f
3:
        .rept   4
        step
        .endr
4:
        cmp     r0, lr
        bne     3b
        leave
        .size   as_dots2, . - as_dots2

        function as_dots2_codebook
        enter
        ldr     r4, [sp, #40]
        mov     r12, r4
        b       2f
1:
        codebook_step
2:
        cmp     r0, lr
        bne     1b
        leave
        .size   as_dots2_codebook, . - as_dots2_codebook

#else

/* Armv7-M: sums in r8-r11, inputs in r4, r5, weights in r6, r7; r3 -> weights. */
        .macro  tap
        mla     r10, r4, r6, r10
        mla     r11, r5, r6, r11
        mla     r8, r4, r7, r8
        mla     r9, r5, r7, r9
        .endm

        .macro  step
        ldr     r12, [r3], #4
        ldrd    r4, r5, [r0], #8
        sxth    r6, r12                 /* 256 b + a */
        sxtb    r7, r12                 /* a */
        tap
        ldrd    r4, r5, [r0], #8
        asr     r6, r12, #16
        sxtb    r7, r12, ror #16
        tap
        .endm

        .macro  codebook_step
        ldrb    r12, [r3], #1
        ldrb    lr, [r3], #1
        ldr     r12, [r2, r12, lsl #2]
        ldr     lr, [r2, lr, lsl #2]
        ldrd    r4, r5, [r0], #8
        sxth    r7, r12
        sxth    r6, lr
        tap
        ldrd    r4, r5, [r0], #8
        asr     r7, r12, #16
        asr     r6, lr, #16
        tap
        .endm

        .macro  enter
        push    {r3-r11, lr}
        mov     r3, r2
        mov     r8, #0
        mov     r9, #0
        mov     r10, #0
        mov     r11, #0
        .endm

        .macro  leave
        pop     {r4}
        stmia   r4, {r8-r11}
        mov     r0, r3
        pop     {r4-r11, pc}
        .endm

        function as_dots2
        enter
        b       2f
1:
        step
2:
        subs    r12, r1, r0
        tst     r12, #48                /* what is left over of four steps of 16 bytes comes first */
        bne     1b
        b       4f
3:
        .rept   4
        step
        .endr
4:
        cmp     r0, r1
        bne     3b
        leave
        .size   as_dots2, . - as_dots2

        function as_dots2_codebook
        enter
        ldr     r2, [sp, #40]
        b       2f
1:
        codebook_step
2:
        cmp     r0, r1
        bne     1b
        leave
        .size   as_dots2_codebook, . - as_dots2_codebook

#endif

#endif

#if defined(__ELF__) && defined(__linux__)
        .section .note.GNU-stack, "", %progbits
#endif
