// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * QEMU TCG plugin: how often each guest instruction ran, branched away and had to wait for the flash,
 * in the second of the stretches of code between the calls of two marker functions; the first warms the caches.
 *
 * This program is free software; you can redistribute it and/or modify it under the terms of the GNU General Public
 * License as published by the Free Software Foundation; either version 2 of the License, or (at your option) any later
 * version. It is distributed in the hope that it will be useful, but WITHOUT ANY WARRANTY; without even the implied
 * warranty of MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the GNU General Public License in the file
 * LICENSE beside this one.
 *
 * It is built on the user's machine and talks to autoshrink through a text file only.
 *
 * Arguments: begin, end: addresses of the marker functions. flash, flash_end: addresses. line: bytes that one flash
 * access brings. icache, dcache: bytes of the caches in front of the flash, 0 for none. unified: 1 if both are one
 * cache (icache). prefetch: 1 if the line that follows the current one is fetched ahead. out: a file.
 * Output: one line an instruction: address (hexadecimal), times executed, times that it branched away, data reads from
 * flash, and flash accesses that it waited for. It is written when the end marker is reached for the second time; the
 * emulator then goes on without the plugin, at full speed.
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

#define WAYS 4
struct cache {
    uint64_t sets, ways;
    uint64_t (*lines)[WAYS]; /* of each set, the last used first; 0 is none */
};
struct instruction {
    uint64_t address, flash_reads, waits;
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
static uint64_t begin_marker, end_marker, flash, flash_end, line_bytes, prefetch, fetched;
static struct cache icache, dcache, *data_cache;
static enum { WAITING, WARMING, WARM, COUNTING, DONE } state;
static char *out_path;

static void make_cache(struct cache *cache, uint64_t bytes)
{
    const uint64_t lines = line_bytes ? bytes / line_bytes : 0;
    cache->ways = lines < WAYS ? lines : WAYS;
    cache->sets = cache->ways ? lines / cache->ways : 0;
    cache->lines = calloc(cache->sets ? cache->sets : 1, sizeof *cache->lines);
    if (!cache->lines)
        abort();
}

/* Says whether a line was there already; it is there afterwards, in place of the least recently used. */
static int hit(struct cache *cache, uint64_t line)
{
    if (!cache->sets)
        return 0;
    uint64_t *set = cache->lines[line % cache->sets], carried = line + 1;
    for (size_t i = 0; i < cache->ways; i++) {
        const uint64_t old = set[i];
        set[i] = carried;
        if (old == line + 1)
            return 1;
        carried = old;
    }
    return 0;
}

static void fetch(struct block *block)
{
    if (!line_bytes || block->start < flash || block->start >= flash_end)
        return;
    for (uint64_t line = block->start / line_bytes; line <= (block->end - 1) / line_bytes; line++) {
        const uint64_t last = fetched;
        fetched = line;
        if (line != last && !hit(&icache, line) && !(prefetch && line == last + 1) && state == COUNTING)
            block->instructions[0].waits++;
    }
}

static void write_out(void)
{
    FILE *out = fopen(out_path, "w");
    if (!out)
        return;
    for (const struct block *block = blocks; block; block = block->next)
        for (size_t i = 0; block->count && i < block->n; i++)
            fprintf(out, "%llx %llu %llu %llu %llu\n", (unsigned long long)block->instructions[i].address,
                    (unsigned long long)block->count, (unsigned long long)(i + 1 == block->n ? block->taken : 0),
                    (unsigned long long)block->instructions[i].flash_reads,
                    (unsigned long long)block->instructions[i].waits);
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
    if (state == WAITING || state == WARM) {
        state += block->start == begin_marker;
        return;
    }
    if (state == COUNTING && previous && block->start != previous->end)
        previous->taken++;
    if (block->start == end_marker) {
        if (++state == DONE) {
            write_out();
            qemu_plugin_uninstall(self, when_uninstalled);
        }
        return;
    }
    fetch(block);
    if (state == COUNTING) {
        block->count++;
        previous = block;
    }
}

static void on_access(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    struct instruction *instruction = data;
    (void)cpu;
    if ((state != COUNTING && state != WARMING) || address < flash || address >= flash_end ||
        qemu_plugin_mem_is_store(info))
        return;
    const int there = line_bytes && hit(data_cache, address / line_bytes);
    if (state == COUNTING) {
        instruction->flash_reads++;
        instruction->waits += !there;
    }
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
    uint64_t icache_bytes = 0, dcache_bytes = 0, unified = 0;
    const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = {{"begin=", &begin_marker},  {"end=", &end_marker},      {"flash=", &flash},
                   {"flash_end=", &flash_end}, {"line=", &line_bytes},     {"icache=", &icache_bytes},
                   {"dcache=", &dcache_bytes}, {"unified=", &unified},     {"prefetch=", &prefetch}};
    for (int i = 0; i < argc; i++) {
        if (!strncmp(argv[i], "out=", 4))
            out_path = strdup(argv[i] + 4);
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
            if (!strncmp(argv[i], numbers[k].name, strlen(numbers[k].name)))
                *numbers[k].value = strtoull(argv[i] + strlen(numbers[k].name), NULL, 0);
    }
    if (!begin_marker || !end_marker || !out_path) {
        fprintf(stderr, "histogram: begin, end and out are needed\n");
        return -1;
    }
    make_cache(&icache, icache_bytes);
    make_cache(&dcache, dcache_bytes);
    data_cache = unified ? &icache : &dcache;
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
