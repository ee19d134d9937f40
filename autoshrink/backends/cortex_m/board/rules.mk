
CROSS = arm-none-eabi-
CC = $(CROSS)gcc
NM = $(CROSS)nm
QEMU = qemu-system-arm
TIMEOUT = timeout 60

BOARD_OBJECTS = $(BOARD:%=build/%.o)
MODEL_OBJECTS = $(MODEL:%=build/%.o)

.PHONY: all run size clean
all: build/firmware.elf

build/firmware.elf: $(BOARD_OBJECTS) $(MODEL_OBJECTS) board/firmware.ld Makefile
	$(CC) $(CPU) $(LDFLAGS) -T board/firmware.ld -Wl,-Map=build/firmware.map -o $@ $(BOARD_OBJECTS) $(MODEL_OBJECTS)

build/board/%.o: board/% Makefile
	@mkdir -p $(@D)
	$(CC) $(CPU) $(CFLAGS) $(BOARD_OPTIMIZE) -Imodel -MMD -MP -c $< -o $@

build/model/%.o: model/% Makefile
	@mkdir -p $(@D)
	$(CC) $(CPU) $(CFLAGS) $(MODEL_OPTIMIZE) -Imodel -MMD -MP -c $< -o $@

run: build/firmware.elf
	@$(TIMEOUT) $(QEMU) -M $(MACHINE) -display none -serial none -monitor none \
	    -chardev stdio,id=out -semihosting-config enable=on,target=native,chardev=out -kernel $< </dev/null

size: build/firmware.elf
	@$(NM) -t d $< | awk '/ firmware_flash_bytes$$/ {print "flash", $$1 + 0, "bytes"} \
	    / firmware_ram_bytes$$/ {print "RAM", $$1 + 0, "bytes, besides the stack"}'

clean:
	rm -rf build

-include $(BOARD_OBJECTS:.o=.d) $(MODEL_OBJECTS:.o=.d)
