/* Sums of a depthwise kernel of 3x3 along a line, two outputs at a time, for Armv6-M. The prototype is in as_depthwise.c. */
#if defined(__ARM_ARCH_6M__)

        .syntax unified
        .thumb

/* Inputs from r1 on; sums in r5, r6; three weights on the stack. `apart` is from one output's inputs to the other's. */
        .macro  line apart, weights
        ldr     r4, [sp, #\weights]
        ldrb    r2, [r1, #0]
        muls    r2, r4, r2
        adds    r5, r5, r2
        ldrb    r2, [r1, #\apart]
        muls    r4, r2, r4
        adds    r6, r6, r4
        ldr     r4, [sp, #\weights + 4]
        .if     \apart == 1
        muls    r2, r4, r2
        adds    r5, r5, r2
        .else
        ldrb    r3, [r1, #1]
        muls    r3, r4, r3
        adds    r5, r5, r3
        .endif
        ldrb    r3, [r1, #\apart + 1]
        muls    r4, r3, r4
        adds    r6, r6, r4
        ldr     r4, [sp, #\weights + 8]
        .if     \apart == 1
        muls    r3, r4, r3
        adds    r5, r5, r3
        .else
        muls    r2, r4, r2
        adds    r5, r5, r2
        .endif
        ldrb    r2, [r1, #\apart + 2]
        muls    r2, r4, r2
        adds    r6, r6, r2
        .endm

/* r0 = inputs, r1 = bytes from line to line, r2 = nine weights, r3 = sums, [sp] = bias, [sp + 4] = count, even */
        .macro  sums_3x3 apart
        push    {r4-r7, lr}
        mov     r4, r8
        mov     r5, r9
        mov     r6, r10
        push    {r4-r6}
        mov     r8, r1
        movs    r7, r3
        ldr     r4, [sp, #32]
        mov     r9, r4
        ldr     r4, [sp, #36]
        lsls    r4, r4, #2
        adds    r4, r4, r3
        mov     r10, r4
        sub     sp, sp, #36
        mov     r1, sp
        .rept   3
        ldmia   r2!, {r4-r6}
        stmia   r1!, {r4-r6}
        .endr
1:
        mov     r5, r9
        mov     r6, r9
        movs    r1, r0
        line    \apart, 0
        add     r1, r1, r8
        line    \apart, 12
        add     r1, r1, r8
        line    \apart, 24
        stmia   r7!, {r5, r6}
        adds    r0, r0, #(2 * \apart)
        cmp     r7, r10
        bne     1b
        add     sp, sp, #36
        pop     {r4-r6}
        mov     r8, r4
        mov     r9, r5
        mov     r10, r6
        pop     {r4-r7, pc}
        .endm

        .macro  function name
        .section .text.\name, "ax", %progbits
        .balign 4
        .global \name
        .type   \name, %function
        .thumb_func
\name:
        .endm

        function as_sums_3x3
        sums_3x3 1
        .size   as_sums_3x3, . - as_sums_3x3

        function as_sums_3x3_by_2
        sums_3x3 2
        .size   as_sums_3x3_by_2, . - as_sums_3x3_by_2

#endif

#if defined(__ELF__) && defined(__linux__)
        .section .note.GNU-stack, "", %progbits
#endif
