/*
 * Runs the model on one example, on the emulated board, and prints what it answers.
 *
 * It prints through the emulator (semihosting), and lies in memory that only the emulated board has: it is no part of
 * the firmware that "make size" shows. On your own board, fill an input and call model_invoke as main does.
 */
#include <stdint.h>

#include "example.h"
#include "model.h"

#define SYS_WRITE0 0x04
#define SYS_EXIT_EXTENDED 0x20
#define ADP_STOPPED 0x20026
#define PRINTED 64u /* outputs; the rest is only counted */
#define PER_LINE 16u
#define TEXT_OF(macro) TEXT(macro)
#define TEXT(tokens) #tokens

extern int8_t firmware_input[], firmware_output[]; /* buffers.c: in the board's RAM */
extern const uint32_t firmware_input_size, firmware_output_size;

static void semihost(uint32_t operation, const void *arguments)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void print(const char *text)
{
    semihost(SYS_WRITE0, text);
}

/* Without a division: not every core has one, and a library's would count as firmware. */
static void print_integer(int32_t value)
{
    static const uint32_t powers[] = {1000000000, 100000000, 10000000, 1000000, 100000, 10000, 1000, 100, 10, 1};
    uint32_t rest = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
    char text[12], *end = text;
    if (value < 0)
        *end++ = '-';
    const char *const first = end;
    for (uint32_t i = 0; i < sizeof powers / sizeof powers[0]; i++) {
        char digit = '0';
        for (; rest >= powers[i]; rest -= powers[i])
            digit++;
        if (digit != '0' || end != first || powers[i] == 1)
            *end++ = digit;
    }
    *end = '\0';
    print(text);
}

static __attribute__((noreturn)) void stop(uint32_t status)
{
    const uint32_t arguments[2] = {ADP_STOPPED, status};
    semihost(SYS_EXIT_EXTENDED, arguments);
    for (;;) {
    }
}

void Fault_Handler(void);
void Fault_Handler(void)
{
    print("the core faulted\n");
    stop(3);
}

int main(void)
{
    for (uint32_t i = 0; i < firmware_input_size; i++)
        firmware_input[i] = example[i];
    if (model_init() != 0 || model_invoke(firmware_input, firmware_output) != 0) {
        print("the model gave up\n");
        stop(2);
    }

    if (EXAMPLE_HAS_CLASSES) {
        uint32_t best = 0;
        for (uint32_t i = 1; i < firmware_output_size; i++)
            if (firmware_output[i] > firmware_output[best])
                best = i;
        print("class ");
        print_integer((int32_t)best);
        print("\n");
    }
    print("outputs, each worth " TEXT_OF(MODEL_OUTPUT_SCALE) " * (integer - " TEXT_OF(MODEL_OUTPUT_ZERO_POINT) "):");
    for (uint32_t i = 0; i < firmware_output_size && i < PRINTED; i++) {
        print(i % PER_LINE ? " " : "\n");
        print_integer(firmware_output[i]);
    }
    print(firmware_output_size > PRINTED ? " ...\n" : "\n");
    stop(0);
}
