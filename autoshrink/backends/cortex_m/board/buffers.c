/* The caller's buffers: an input and an output lie in the RAM of the board as well. */
#include "model.h"

int8_t firmware_input[MODEL_INPUT_SIZE] __attribute__((aligned(8)));
int8_t firmware_output[MODEL_OUTPUT_SIZE] __attribute__((aligned(8)));
const uint32_t firmware_input_size = MODEL_INPUT_SIZE;
const uint32_t firmware_output_size = MODEL_OUTPUT_SIZE;
