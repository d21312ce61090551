"""A microcontroller's board, as little of it as a program needs: where memory is, and how it starts."""

LINKED = """ENTRY(reset)
MEMORY { FLASH (rx) : ORIGIN = 0x00000000, LENGTH = 4M  RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 4M }
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) *(.ARM.ex*) } > FLASH
  .data : { data_start = .; *(.data*) data_end = .; } > RAM AT > FLASH
  data_load = LOADADDR(.data);
  .bss : { bss_start = .; *(.bss*) *(COMMON) bss_end = .; end = .; __end__ = .; } > RAM
  __stack = ORIGIN(RAM) + LENGTH(RAM);
}
"""
STARTED = """#include <stdint.h>
#include <stdlib.h>
extern int main(void);
extern void initialise_monitor_handles(void);
extern char data_start, data_end, data_load, bss_start, bss_end, __stack;
void _init(void) {}
void _fini(void) {}
void reset(void) {
    *(volatile uint32_t *)0xE000ED88 |= 0xF << 20; /* the floating-point unit on */
    for (char *to = &data_start, *from = &data_load; to < &data_end;) *to++ = *from++;
    for (char *to = &bss_start; to < &bss_end;) *to++ = 0;
    initialise_monitor_handles();
    exit(main());
}
__attribute__((section(".vectors"), used)) static const void *const vectors[] = {&__stack, reset};
"""
COMPILE = [
    "arm-none-eabi-gcc", "-std=c99", "-O2", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16",
    "--specs=rdimon.specs", "-nostartfiles", "-T", "board.ld", "-o", "program.elf", "board.c",
]  # fmt: skip
LIBRARIES = ["-lm", "-lrdimon"]
RUN = [
    "qemu-system-arm", "-machine", "mps2-an386", "-cpu", "cortex-m4", "-kernel", "program.elf", "-semihosting",
    "-nographic", "-monitor", "none", "-serial", "none",
]  # fmt: skip
