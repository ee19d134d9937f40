// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU TCG plugin: how often each guest instruction ran, branched away and read data from flash,
 * from the first call of one marker function to the next call of another.
 *
 * This program is free software; you can redistribute it and/or modify it under the terms of the GNU General Public
 * License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any later
 * version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied
 * warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU General Public License in the file
 * LICENSE beside this one.
 *
 * It is built on the user's machine and talks to autoshrink through a text file only.
 *
 * Arguments: begin=ADDRESS and end=ADDRESS of the marker functions, flash=ADDRESS and flash_end=ADDRESS, out=FILE.
 * Output: one line an instruction: address (hexadecimal), times executed, times that it branched away, data reads from
 * flash. It is written when the end marker is reached; the emulator then goes on without the plugin, at full speed.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The part of QEMU's plugin interface, version 1, that is used: Debian ships no header. */
#define EXPORT __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_info;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_RW = 3 };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned int, void *),
                                          enum qemu_plugin_cb_flags, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *,
                                      void (*)(unsigned int, qemu_plugin_meminfo_t, uint64_t, void *),
                                      enum qemu_plugin_cb_flags, enum qemu_plugin_mem_rw, void *);
_Bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);
void qemu_plugin_uninstall(qemu_plugin_id_t, void (*)(qemu_plugin_id_t));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);

EXPORT int qemu_plugin_version = 1;

struct instruction {
    uint64_t address, flash_reads;
};
struct block {
    struct block *next;
    uint64_t count, taken; /* executions; executions that did not go on at `end` */
    uint64_t start, end;
    size_t n;
    struct instruction instructions[];
};

static qemu_plugin_id_t self;
static struct block *blocks, *previous;
static uint64_t begin_marker, end_marker, flash, flash_end;
static enum { WAITING, COUNTING, DONE } state;
static char *out_path;

static void write_out(void)
{
    FILE *out = fopen(out_path, "w");
    if (!out)
        return;
    for (const struct block *block = blocks; block; block = block->next)
        for (size_t i = 0; block->count && i < block->n; i++)
            fprintf(out, "%llx %llu %llu %llu\n", (unsigned long long)block->instructions[i].address,
                    (unsigned long long)block->count, (unsigned long long)(i + 1 == block->n ? block->taken : 0),
                    (unsigned long long)block->instructions[i].flash_reads);
    fprintf(out, "complete\n");
    fclose(out);
}

static void when_uninstalled(qemu_plugin_id_t id)
{
    (void)id;
}

static void on_execution(unsigned int cpu, void *data)
{
    struct block *block = data;
    (void)cpu;
    if (state == COUNTING) {
        if (previous && block->start != previous->end)
            previous->taken++;
        if (block->start == end_marker) {
            state = DONE;
            write_out();
            qemu_plugin_uninstall(self, when_uninstalled);
            return;
        }
        block->count++;
        previous = block;
    } else if (state == WAITING && block->start == begin_marker) {
        state = COUNTING;
    }
}

static void on_access(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    (void)cpu;
    if (state == COUNTING && address >= flash && address < flash_end && !qemu_plugin_mem_is_store(info))
        ((struct instruction *)data)->flash_reads++;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    size_t n = qemu_plugin_tb_n_insns(tb);
    struct block *block = calloc(1, sizeof *block + n * sizeof block->instructions[0]);
    (void)id;
    if (!block || !n)
        abort();
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        block->instructions[i].address = qemu_plugin_insn_vaddr(insn);
        block->end = block->instructions[i].address + qemu_plugin_insn_size(insn);
        qemu_plugin_register_vcpu_mem_cb(insn, on_access, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW,
                                         &block->instructions[i]);
    }
    block->n = n;
    block->start = block->instructions[0].address;
    block->next = blocks;
    blocks = block;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, on_execution, QEMU_PLUGIN_CB_NO_REGS, block);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info;
    self = id;
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "begin=", 6))
            begin_marker = strtoull(argv[i] + 6, NULL, 0);
        else if (!strncmp(argv[i], "end=", 4))
            end_marker = strtoull(argv[i] + 4, NULL, 0);
        else if (!strncmp(argv[i], "flash=", 6))
            flash = strtoull(argv[i] + 6, NULL, 0);
        else if (!strncmp(argv[i], "flash_end=", 10))
            flash_end = strtoull(argv[i] + 10, NULL, 0);
        else if (!strncmp(argv[i], "out=", 4))
            out_path = strdup(argv[i] + 4);
    }
    if (!begin_marker || !end_marker || !out_path) {
        fprintf(stderr, "histogram: begin, end and out are needed\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
