/*
 * Sums of products for cores with the DSP extension, two channels (a, b) at a time.
 *
 * In assembler, because every register is taken: eight sums, two words of inputs, two of weights, two pointers.
 * A step (two taps, two channels, four positions) is 12 instructions for 16 products.
 * The prototypes stand in as_block.h; the order of the weights, in paired_steps.py of the generator.
 */
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)

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

/* The first product of a sum, and every further one. */
        .macro  first sum, x, weights
        smuad   \sum, \x, \weights
        .endm

        .macro  more sum, x, weights
        smlad   \sum, \x, \weights, \sum
        .endm

/* ---- Four positions: a's sums in r0-r3, b's in r4-r7, inputs at r12, weights at lr ---- */

        .equ    X, 0                    /* the stack frame */
        .equ    X_END, 4
        .equ    OUT, 8
        .equ    OUT_END, 12
        .equ    STRIDE, 16
        .equ    TWICE_ZERO, 20
        .equ    TABLE, 24
        .equ    ENTRY, 28
        .equ    FRAME, 32

        .macro  step4 product
        ldr     r10, [lr], #4           /* 256 b + a for two taps */
        ldrd    r8, r9, [r12], #8
        sxtb16  r11, r10                /* a */
        \product r4, r8, r10
        \product r5, r9, r10
        \product r0, r8, r11
        \product r1, r9, r11
        ldrd    r8, r9, [r12], #8
        \product r6, r8, r10
        \product r7, r9, r10
        \product r2, r8, r11
        \product r3, r9, r11
        .endm

        .macro  codebook_step4 product
        ldrb    r9, [lr], #1            /* both taps' indices */
        ldrb    r10, [lr], #1
        ldr     r9, [r11, r9, lsl #2]
        ldr     r10, [r11, r10, lsl #2]
        ldr     r8, [r12], #4
        \product r0, r8, r9
        \product r4, r8, r10
        ldr     r8, [r12], #4
        \product r1, r8, r9
        \product r5, r8, r10
        ldr     r8, [r12], #4
        \product r2, r8, r9
        \product r6, r8, r10
        ldr     r8, [r12], #4
        \product r3, r8, r9
        \product r7, r8, r10
        .endm

/* Makes the frame. The loop of `unroll` steps of `bytes` each is entered in its midst, so that it ends evenly. */
        .macro  enter4 bytes, unroll, check
        push    {r4-r11, lr}
        sub     sp, sp, #FRAME
        mov     lr, r1
        ldmia   r0, {r4-r10}
        stmia   sp, {r4-r10}
        sub     r4, r5, r4
        lsr     r4, r4, #4              /* steps */
        sub     r4, r4, #1
        and     r4, r4, #(\unroll - 1)
        mov     r5, #\bytes
        mul     r4, r4, r5
        adr     r5, \check
        sub     r4, r5, r4
        orr     r4, r4, #1
        str     r4, [sp, #ENTRY]
        .endm

/* One sum to int8: (high(2 sum * factor) - (sum < 0) + rounding) >> shift. The rounding (r11) holds the zero point too. */
        .macro  scale sum
        smmlar  r8, \sum, r9, r11
        add     r8, r8, \sum, asr #31
        asr     r8, r8, r10
        ssat    \sum, #8, r8, asr #1
        .endm

/* A channel's four sums to int8; `doubled` makes twice the sum of what the register holds. */
        .macro  scale4 s0, s1, s2, s3, shift, factors, doubled:vararg
        ldrd    r8, r9, [lr, #\factors] /* twice the bias, factor */
        ldrb    r10, [lr, #\shift]
        ldr     r11, [sp, #TWICE_ZERO]
        add     \s0, r8, \s0, \doubled
        add     \s1, r8, \s1, \doubled
        add     \s2, r8, \s2, \doubled
        add     \s3, r8, \s3, \doubled
        lsl     r11, r11, r10
        scale   \s0
        scale   \s1
        scale   \s2
        scale   \s3
        .endm

/* Stores both channels of the four positions; goes on at `again` unless these were the last. */
        .macro  leave4 again
        ldr     r8, [sp, #OUT]
        ldr     r9, [sp, #STRIDE]
        ldr     r10, [sp, #OUT_END]
        add     lr, lr, #20
        add     r12, r8, r9, lsl #1
        strb    r1, [r8, r9]
        strb    r0, [r8], #1
        strb    r3, [r12, r9]
        strb    r2, [r12], #1
        cmp     r8, r10
        beq     9f                      /* an odd number of channels */
        strb    r5, [r8, r9]
        strb    r4, [r8], #1
        strb    r7, [r12, r9]
        strb    r6, [r12]
        cmp     r8, r10
        str     r8, [sp, #OUT]
        bne     \again
9:
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .endm

        function as_block_group
        enter4  48, 8, 3f
1:
        ldr     r12, [sp, #X]
        step4   first
        ldr     pc, [sp, #ENTRY]
        .balign 4
2:
        .rept   8
        step4   more
        .endr
3:
        ldr     r8, [sp, #X_END]
        cmp     r12, r8
        bne     2b
        sub     r4, r4, r0              /* 256 b */
        sub     r5, r5, r1
        sub     r6, r6, r2
        sub     r7, r7, r3
        scale4  r0, r1, r2, r3, 0, 4, lsl #1
        scale4  r4, r5, r6, r7, 1, 12, asr #7
        leave4  1b
        .size   as_block_group, . - as_block_group

        function as_block_group_codebook
        enter4  64, 4, 3f
1:
        ldr     r12, [sp, #X]
        ldr     r11, [sp, #TABLE]
        codebook_step4 first
        ldr     pc, [sp, #ENTRY]
        .balign 4
2:
        .rept   4
        codebook_step4 more
        .endr
3:
        ldr     r8, [sp, #X_END]
        cmp     r12, r8
        bne     2b
        add     lr, lr, #3
        bic     lr, lr, #3
        scale4  r0, r1, r2, r3, 0, 4, lsl #1
        scale4  r4, r5, r6, r7, 1, 12, lsl #1
        leave4  1b
        .size   as_block_group_codebook, . - as_block_group_codebook

/* Only steps that are not zero, one channel: inputs at r12, weights at lr, sums in r0-r3. An entry is three bytes: weight,
   steps to go on from the last entry, weight. */
        .macro  sparse_step4
        ldr     r10, [lr], #3
        ubfx    r8, r10, #8, #8
        add     r12, r12, r8, lsl #4
        sxtb16  r10, r10
        ldrd    r8, r9, [r12]
        smlad   r0, r8, r10, r0
        smlad   r1, r9, r10, r1
        ldrd    r8, r9, [r12, #8]
        smlad   r2, r8, r10, r2
        smlad   r3, r9, r10, r3
        .endm

        function as_block_group_sparse
        push    {r4-r11, lr}
        sub     sp, sp, #FRAME
        mov     lr, r1
        ldmia   r0, {r4-r10}
        stmia   sp, {r4-r10}
1:
        ldr     r4, [lr], #4            /* entries, shift */
        ldrd    r5, r6, [lr], #8        /* twice the bias, factor */
        ldr     r12, [sp, #X]
        mov     r0, #0
        mov     r1, #0
        mov     r2, #0
        mov     r3, #0
        uxth    r7, r4
        lsr     r4, r4, #16
        tst     r7, #1
        beq     2f
        sparse_step4
        sub     r7, r7, #1
2:
        cmp     r7, #0
        b       4f
3:
        sparse_step4
        sparse_step4
        subs    r7, r7, #2
4:
        bne     3b
        add     lr, lr, #3
        bic     lr, lr, #3
        ldr     r11, [sp, #TWICE_ZERO]
        add     r0, r5, r0, lsl #1
        add     r1, r5, r1, lsl #1
        add     r2, r5, r2, lsl #1
        add     r3, r5, r3, lsl #1
        mov     r9, r6
        mov     r10, r4
        lsl     r11, r11, r10
        scale   r0
        scale   r1
        scale   r2
        scale   r3
        ldr     r8, [sp, #OUT]
        ldr     r9, [sp, #STRIDE]
        ldr     r10, [sp, #OUT_END]
        add     r12, r8, r9, lsl #1
        strb    r1, [r8, r9]
        strb    r0, [r8], #1
        strb    r3, [r12, r9]
        strb    r2, [r12]
        cmp     r8, r10
        str     r8, [sp, #OUT]
        bne     1b
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .size   as_block_group_sparse, . - as_block_group_sparse

/* ---- One position: sums in r2 (a) and r3 (b), inputs from r0 to r1, weights at lr ---- */

        .macro  step1 x, weights
        smlad   r3, \x, \weights, r3
        sxtb16  \weights, \weights
        smlad   r2, \x, \weights, r2
        .endm

        .macro  codebook_step1 x        /* table at r12 */
        ldrb    r8, [lr], #1
        ldrb    r9, [lr], #1
        ldr     r8, [r12, r8, lsl #2]
        ldr     r9, [r12, r9, lsl #2]
        smlad   r2, \x, r8, r2
        smlad   r3, \x, r9, r3
        .endm

        .macro  enter1
        push    {r4-r11, lr}
        sub     sp, sp, #FRAME
        mov     lr, r1
        ldmia   r0, {r4-r10}
        stmia   sp, {r4-r10}
        mov     r1, r5
        .endm

        .macro  leave1 again, doubled:vararg
        ldr     r11, [sp, #TWICE_ZERO]
        ldr     r7, [lr], #4            /* shifts */
        ldmia   lr!, {r4-r6, r12}       /* twice the bias and factor of a, of b */
        add     r2, r4, r2, lsl #1
        add     r3, r6, r3, \doubled
        uxtb    r10, r7
        lsr     r7, r7, #8
        lsl     r4, r11, r10
        smmlar  r8, r2, r5, r4
        lsl     r4, r11, r7
        add     r8, r8, r2, asr #31
        asr     r8, r8, r10
        smmlar  r9, r3, r12, r4
        ssat    r8, #8, r8, asr #1
        ldrd    r4, r5, [sp, #OUT]
        add     r9, r9, r3, asr #31
        strb    r8, [r4], #1
        asr     r9, r9, r7
        cmp     r4, r5
        beq     9f                      /* an odd number of channels */
        ssat    r9, #8, r9, asr #1
        strb    r9, [r4], #1
        str     r4, [sp, #OUT]
        cmp     r4, r5
        bne     \again
9:
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .endm

        function as_block_single
        enter1
1:
        ldr     r0, [sp, #X]
        mov     r2, #0
        mov     r3, #0
        sub     r12, r1, #28            /* from here on fewer than eight steps are left */
        b       3f
2:
        .rept   2
        ldmia   lr!, {r8-r11}
        ldmia   r0!, {r4-r7}
        step1   r4, r8
        step1   r5, r9
        step1   r6, r10
        step1   r7, r11
        .endr
3:
        cmp     r0, r12
        blo     2b
        b       5f
4:
        ldr     r8, [lr], #4
        ldr     r4, [r0], #4
        step1   r4, r8
5:
        cmp     r0, r1
        bne     4b
        sub     r3, r3, r2
        leave1  1b, asr #7
        .size   as_block_single, . - as_block_single

        function as_block_single_codebook
        enter1
1:
        ldr     r0, [sp, #X]
        ldr     r12, [sp, #TABLE]
        mov     r2, #0
        mov     r3, #0
        sub     r11, r1, #12            /* from here on fewer than four steps are left */
        b       3f
2:
        ldmia   r0!, {r4-r7}
        codebook_step1 r4
        codebook_step1 r5
        codebook_step1 r6
        codebook_step1 r7
3:
        cmp     r0, r11
        blo     2b
        b       5f
4:
        ldr     r4, [r0], #4
        codebook_step1 r4
5:
        cmp     r0, r1
        bne     4b
        add     lr, lr, #3
        bic     lr, lr, #3
        leave1  1b, lsl #1
        .size   as_block_single_codebook, . - as_block_single_codebook

        function as_block_single_sparse
        enter1
1:
        ldr     r4, [lr], #4            /* entries, shift */
        ldrd    r5, r6, [lr], #8        /* twice the bias, factor */
        ldr     r0, [sp, #X]
        mov     r2, #0
        uxth    r7, r4
        lsr     r10, r4, #16
        b       3f
2:
        ldr     r9, [lr], #3
        ubfx    r8, r9, #8, #8
        add     r0, r0, r8, lsl #2
        sxtb16  r9, r9
        ldr     r8, [r0]
        subs    r7, r7, #1
        smlad   r2, r8, r9, r2
3:
        cmp     r7, #0
        bne     2b
        add     lr, lr, #3
        bic     lr, lr, #3
        ldr     r11, [sp, #TWICE_ZERO]
        add     r2, r5, r2, lsl #1
        lsl     r11, r11, r10
        mov     r9, r6
        scale   r2
        ldrd    r4, r5, [sp, #OUT]
        strb    r2, [r4], #1
        str     r4, [sp, #OUT]
        cmp     r4, r5
        bne     1b
        add     sp, sp, #FRAME
        pop     {r4-r11, pc}
        .size   as_block_single_sparse, . - as_block_single_sparse

/* ---- Inputs from int8 to pairs of 16 bits ---- */

        function as_spread4
        push    {r4-r11, lr}
        mov     r12, r1
        mov     lr, r2
        ldmia   r0, {r0-r3}
1:
        ldr     r4, [r0], #4
        ldr     r5, [r1], #4
        ldr     r6, [r2], #4
        ldr     r7, [r3], #4
        sxtb16  r8, r4
        sxtb16  r9, r5
        sxtb16  r10, r6
        sxtb16  r11, r7
        stmia   r12!, {r8-r11}
        sxtb16  r4, r4, ror #8
        sxtb16  r5, r5, ror #8
        sxtb16  r6, r6, ror #8
        sxtb16  r7, r7, ror #8
        stmia   r12!, {r4-r7}
        subs    lr, lr, #1
        bne     1b
        mov     r0, r12
        pop     {r4-r11, pc}
        .size   as_spread4, . - as_spread4

#endif

#if defined(__ELF__) && defined(__linux__)
        .section .note.GNU-stack, "", %progbits
#endif
