/*
 * Runs a model on every input of a file, over semihosting, and reports what it took.
 *
 * It is no part of the firmware that is sized: its code and data lie in memory that only the emulated board has.
 * Files in the emulator's working folder: inputs.bin -> outputs.bin, report.txt.
 */
#include <stdint.h>

#define SYS_OPEN 0x01
#define SYS_CLOSE 0x02
#define SYS_WRITE 0x05
#define SYS_READ 0x06
#define SYS_EXIT_EXTENDED 0x20
#define ADP_STOPPED 0x20026
#define MODE_READ 1  /* "rb" */
#define MODE_WRITE 5 /* "wb" */
#define PAINT 0xC5A35C3Au
#define MARGIN 64u        /* bytes below the stack pointer that this file itself may use while it paints */
#define STACK_WORDS 32768u /* more than any model needs: what is too much for the board is found all the same */

extern int model_init(void);
extern int model_invoke(const int8_t *in, int8_t *out);
extern int8_t firmware_input[], firmware_output[];
extern const uint32_t firmware_input_size, firmware_output_size;

static uint32_t semihost(uint32_t operation, const void *arguments)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t open_file(const char *name, uint32_t mode)
{
    uint32_t length = 0;
    while (name[length])
        length++;
    const uint32_t arguments[3] = {(uint32_t)name, mode, length};
    return semihost(SYS_OPEN, arguments);
}

/* Gives the number of bytes that were not transferred. */
static uint32_t transfer(uint32_t operation, uint32_t file, const void *data, uint32_t size)
{
    const uint32_t arguments[3] = {file, (uint32_t)data, size};
    return semihost(operation, arguments);
}

static __attribute__((noreturn)) void stop(uint32_t status)
{
    const uint32_t arguments[2] = {ADP_STOPPED, status};
    semihost(SYS_EXIT_EXTENDED, arguments);
    for (;;) {
    }
}

/* Where the core was when it faulted, for the error message. */
static void report_fault(const uint32_t *frame)
{
    const uint32_t file = open_file("fault.bin", MODE_WRITE);
    const uint32_t facts[3] = {frame[6], *(volatile uint32_t *)0xE000ED28, *(volatile uint32_t *)0xE000ED38};
    transfer(SYS_WRITE, file, facts, sizeof facts);
    stop(3);
}

static uint32_t stack[STACK_WORDS] __attribute__((aligned(8)));
static uint32_t fault_stack[64] __attribute__((used)); /* the other one may be what went wrong */

void Fault_Handler(void);
__attribute__((naked)) void Fault_Handler(void)
{
    __asm__ volatile("mrs r0, msp\n"
                     "ldr r1, =fault_stack + 256\n"
                     "mov sp, r1\n"
                     "ldr r1, =%c0\n"
                     "bx r1\n" ::"i"(report_fault));
}

/* What the counting plugin looks for. */
__attribute__((noinline, used)) void autoshrink_begin(void)
{
    __asm__ volatile("");
}
__attribute__((noinline, used)) void autoshrink_end(void)
{
    __asm__ volatile("");
}

/* A free-running timer of the emulated board; it counts instructions where the emulator's clock does. */
static uint32_t ticks(void)
{
    return *(volatile uint32_t *)HARNESS_TIMER;
}

static uint32_t *stack_pointer(void)
{
    uint32_t *sp;
    __asm__ volatile("mov %0, sp" : "=r"(sp));
    return sp;
}

/* One inference between the markers; gives the ticks that it took. */
static uint32_t infer(void)
{
    int (*volatile invoke)(const int8_t *, int8_t *) = model_invoke; /* out of a direct call's reach */
    const uint32_t started = ticks();
    autoshrink_begin();
    const int status = invoke(firmware_input, firmware_output);
    autoshrink_end();
    const uint32_t stopped = ticks();
    if (status != 0)
        stop(2);
    return stopped - started;
}

struct report {
    uint32_t inferences, stack_bytes, ticks, overhead_ticks;
};

static __attribute__((noreturn, used)) void run(void)
{
    int (*volatile init)(void) = model_init;
    struct report report = {0, 0, 0, 0};

    const uint32_t inputs = open_file("inputs.bin", MODE_READ);
    const uint32_t outputs = open_file("outputs.bin", MODE_WRITE);
    if (inputs == UINT32_MAX || outputs == UINT32_MAX)
        stop(4);
    uint32_t *const deepest = stack_pointer() - MARGIN / 4;
    for (uint32_t *word = stack; word < deepest; word++)
        *word = PAINT;
    if (init() != 0)
        stop(2);
    while (transfer(SYS_READ, inputs, firmware_input, firmware_input_size) == 0) {
        if (report.inferences == 0)
            infer(); /* the first one warms the caches, and the second one counts */
        const uint32_t took = infer();
        if (report.inferences++ == 0)
            report.ticks = took;
        if (transfer(SYS_WRITE, outputs, firmware_output, firmware_output_size) != 0)
            stop(4);
    }
    const uint32_t started = ticks();
    autoshrink_begin();
    autoshrink_end();
    report.overhead_ticks = ticks() - started;
    const uint32_t *word = stack;
    while (word < deepest && *word == PAINT)
        word++;
    report.stack_bytes = (uint32_t)stack_pointer() - (uint32_t)word;
    const uint32_t file = open_file("report.bin", MODE_WRITE);
    transfer(SYS_WRITE, file, &report, sizeof report);
    stop(0);
}

/* Goes on with a stack in memory of the harness. */
__attribute__((naked)) int main(void)
{
    __asm__ volatile("ldr r0, =%c0\n"
                     "mov sp, r0\n"
                     "ldr r0, =%c1\n"
                     "bx r0\n" ::"i"(stack + STACK_WORDS), "i"(run));
}
