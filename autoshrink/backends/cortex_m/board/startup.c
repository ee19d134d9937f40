/* Vector table and reset code for any Cortex-M: the first thing that runs, and all that runs before main. */
#include <stdint.h>

extern uint32_t __stack_top[], __data_start[], __data_end[], __data_load[], __bss_start[], __bss_end[];
int main(void);
void Reset_Handler(void);
void Fault_Handler(void);

__attribute__((weak)) void Fault_Handler(void)
{
    for (;;) {
    }
}

/* Only the system exceptions: the firmware enables no interrupt. */
__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    [0] = __stack_top,
    [1] = (const void *)Reset_Handler,
    [2] = (const void *)Fault_Handler, /* NMI */
    [3] = (const void *)Fault_Handler, /* HardFault */
};

void Reset_Handler(void)
{
    volatile uint32_t *const ccr = (volatile uint32_t *)0xE000ED14;
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: the FPU and MVE may be used */
#endif
#if defined(__ARM_FEATURE_UNALIGNED)
    (void)ccr;
#else
    *ccr |= 1u << 3; /* UNALIGN_TRP: an Armv6-M part faults here, so the emulated core must too */
#endif
    const uint32_t *from = __data_load;
    for (uint32_t *to = __data_start; to < __data_end;)
        *to++ = *from++;
    for (uint32_t *to = __bss_start; to < __bss_end;)
        *to++ = 0;
    main();
    for (;;) {
    }
}
