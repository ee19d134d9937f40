"""Real compiler, real emulator: what a firmware gives, what it takes, and how it fails."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcu_firmware import CORES, HEADER, board, firmware, weighted_sums

from autoshrink.backends.cortex_m import counting, toolchain
from autoshrink.backends.cortex_m.emulate import run
from autoshrink.backends.cortex_m.toolchain import build
from autoshrink.core import BackendUnavailable, DeviceError, Refusal

LOOP = """
#include "model.h"
int model_init(void) { return 0; }
__attribute__((naked, noinline)) static void loop(void)
{
    __asm__ volatile(".syntax unified\\n movs r0, #0\\n movs r1, #250\\n"
                     "again: adds r0, r0, #1\\n subs r1, r1, #1\\n bne again\\n bx lr");
}
int model_invoke(const int8_t *in, int8_t *out) { loop(); out[0] = in[0]; return 0; }
"""


@pytest.mark.parametrize("core", CORES)
def test_a_batch_of_inputs_gives_the_outputs_that_numpy_gives(core, tmp_path):
    weights = np.random.default_rng(5).integers(-128, 128, (6, 24)).astype(np.int8)
    inputs = np.random.default_rng(6).integers(-128, 128, (20, 24)).astype(np.int8)
    emulated = run(firmware(weighted_sums(weights), tmp_path, core, 24, 6), inputs)
    expected = (inputs.astype(np.int32) @ weights.T.astype(np.int32)) >> 8
    assert emulated.outputs.dtype == np.int8
    np.testing.assert_array_equal(emulated.outputs, expected.astype(np.int8))
    assert emulated.counting == "plugin"
    assert emulated.instructions > 6 * 24 / 8


@pytest.mark.parametrize("core", CORES)
def test_a_loop_is_counted_to_the_instruction(core, tmp_path):
    built = firmware(LOOP, tmp_path, core)
    emulated = run(built, np.zeros((3, 1), np.int8))
    body = [count for count in emulated.histogram.values() if count.executed == 250]
    assert len(body) == 3
    assert sorted(count.taken for count in body) == [0, 0, 249]
    # The emulator's own clock knows nothing of the plugin.
    assert abs(run(built, np.zeros((3, 1), np.int8), count=False).instructions - emulated.instructions) <= 5


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_every_figure_is_the_same_in_each_run(core, tmp_path):
    weights = np.arange(-60, 60, dtype=np.int8).reshape(4, 30)
    built = firmware(weighted_sums(weights), tmp_path, core, 30, 4)
    runs = [run(built, np.full((2, 30), 3, np.int8)) for _ in range(3)]
    figures = [{k: v for k, v in vars(one).items() if k not in ("seconds", "outputs")} for one in runs]
    assert figures[0] == figures[1] == figures[2]


def test_flash_reads_are_counted_and_wait_without_a_cache(tmp_path):
    weights = np.arange(64, dtype=np.int8).reshape(1, 64)
    slow = board("cortex-m4", wait=2)
    emulated = run(firmware(weighted_sums(weights), tmp_path, slow, 64, 1), np.ones((1, 64), np.int8))
    reads = sum(count.flash_reads for count in emulated.histogram.values())
    assert 64 <= reads <= 64 + 10  # each weight is a byte, and a few literals
    assert sum(count.waits for count in emulated.histogram.values()) >= reads


def test_a_cache_that_holds_the_firmware_hides_the_flash(tmp_path):
    weights = np.arange(64, dtype=np.int8).reshape(1, 64)
    cached = board("cortex-m4", wait=20, unified_cache="8 KiB")
    emulated = run(firmware(weighted_sums(weights), tmp_path, cached, 64, 1), np.ones((1, 64), np.int8))
    assert sum(count.flash_reads for count in emulated.histogram.values()) >= 64
    assert sum(count.waits for count in emulated.histogram.values()) == 0


@settings(max_examples=4, deadline=None)
@given(depth=st.integers(16, 3000))
def test_the_stack_is_measured_where_it_was_touched(tmp_path_factory, depth):
    source = f"""
    #include "model.h"
    int model_init(void) {{ return 0; }}
    __attribute__((noinline)) static int deep(volatile int8_t *kept, int n)
    {{ for (int i = 0; i < n; i++) kept[i] = 1; return kept[0]; }}
    int model_invoke(const int8_t *in, int8_t *out)
    {{ volatile int8_t kept[{depth}]; out[0] = (int8_t)(in[0] + deep(kept, {depth})); return 0; }}"""
    emulated = run(firmware(source, tmp_path_factory.mktemp("stack"), "cortex-m4"), np.zeros((1, 1), np.int8))
    assert depth <= emulated.stack_bytes <= depth + 128
    assert emulated.ram_bytes == emulated.stack_bytes + 16  # one input, one output, both aligned


def test_a_stack_that_is_too_small_is_a_refusal(tmp_path):
    source = (
        HEADER
        + """
    int model_init(void) { return 0; }
    int model_invoke(const int8_t *in, int8_t *out)
    { volatile int8_t kept[6000]; for (int i = 0; i < 6000; i++) kept[i] = in[0]; out[0] = kept[5]; return 0; }"""
    )
    for core in ("cortex-m0plus", "cortex-m55"):
        with pytest.raises(Refusal, match=r"needs 60\d\d bytes of stack, and test board keeps 4096"):
            run(firmware(source, tmp_path, core), np.zeros((1, 1), np.int8))


def test_an_image_too_large_for_the_board_still_has_figures(tmp_path):
    weights = np.ones((40, 1000), np.int8)
    fitting = firmware(weighted_sums(weights), tmp_path, "cortex-m4", 1000, 40)
    small = board("cortex-m4").model_copy(update={"flash": 30_000, "ram": 5000})
    large = firmware(weighted_sums(weights), tmp_path, small, 1000, 40)
    assert fitting.overflow == {}
    assert set(large.overflow) == {"flash", "ram"}
    assert large.flash_bytes == fitting.flash_bytes
    assert abs(large.overflow["flash"] - (large.flash_bytes - 30_000)) <= 8
    assert abs(large.overflow["ram"] - (large.ram_bytes + small.stack - 5000)) <= 8
    assert run(large, np.ones((1, 1000), np.int8)).outputs.shape == (1, 40)


def test_an_image_too_large_for_every_memory_is_a_refusal(tmp_path):
    source = HEADER + "static int8_t arena[5 << 20]; int model_init(void) { return 0; }\n"
    source += "int model_invoke(const int8_t *in, int8_t *out) { arena[in[0]] = 1; out[0] = arena[3]; return 0; }"
    with pytest.raises(Refusal, match=r"overflows ram by \d+ bytes, and is too large for the emulated cortex-m7 too"):
        firmware(source, tmp_path, "cortex-m7")


@pytest.mark.parametrize(
    ("core", "body", "message"),
    [
        ("cortex-m4", "out[0] = *(volatile int8_t *)0xA0000000;", r"faulted on the emulated cortex-m4 in model_invoke"),
        ("cortex-m0plus", "out[0] = (int8_t)*(volatile int32_t *)(in + 1);", r"faulted on the emulated cortex-m0plus"),
        ("cortex-m33", "(void)in; out[0] = 1; return 1;", r"gave up on the emulated cortex-m33"),
    ],
)
def test_a_firmware_that_fails_says_where(core, body, message, tmp_path):
    source = f"{HEADER}int model_init(void) {{ return 0; }}\n"
    source += f"int model_invoke(const int8_t *in, int8_t *out) {{ {body} return 0; }}"
    with pytest.raises(RuntimeError, match=message):
        run(firmware(source, tmp_path, core, 8), np.zeros((1, 8), np.int8))


def test_a_firmware_that_never_ends_is_stopped(tmp_path):
    source = HEADER + "int model_init(void) { return 0; }\n"
    source += "int model_invoke(const int8_t *in, int8_t *out) { for (;;) out[0] = in[0]; return 0; }"
    with pytest.raises(DeviceError, match="cortex-m4 took longer than 1 s"):
        run(firmware(source, tmp_path, "cortex-m4"), np.zeros((1, 1), np.int8), timeout=1)


def test_inputs_of_another_size_are_noticed(tmp_path):
    built = firmware(weighted_sums(np.ones((1, 8), np.int8)), tmp_path, "cortex-m4", 8, 1)
    with pytest.raises(ValueError, match="2 inputs were given, and 1 of the model's input size were read"):
        run(built, np.zeros((2, 5), np.int8))


def test_sources_that_do_not_compile_or_link_are_a_bug(tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)model.c does not compile for cortex-m4:.*'nothing' undeclared"):
        firmware(HEADER + "int model_init(void) { return nothing; }", tmp_path, "cortex-m4")
    with pytest.raises(RuntimeError, match=r"(?s)does not link for cortex-m4:.*undefined reference to .model_invoke"):
        firmware(HEADER + "int model_init(void) { return 0; }", tmp_path, "cortex-m4")


def test_a_changed_header_is_compiled_again(tmp_path):
    source = HEADER + '#include "scale.h"\nint model_init(void) { return 0; }\n'
    source += "int model_invoke(const int8_t *in, int8_t *out) { out[0] = (int8_t)(in[0] * SCALE); return 0; }"
    for scale in (3, 7):
        (tmp_path / "scale.h").write_text(f"#define SCALE {scale}\n")
        assert run(firmware(source, tmp_path, "cortex-m4"), np.full((1, 1), 2, np.int8)).outputs[0, 0] == 2 * scale


_CACHED = (toolchain.program, toolchain.versions, toolchain.require_toolchain, counting.plugin)


@pytest.fixture
def bare_path(tmp_path, monkeypatch):
    """A machine with nothing but what is linked into one folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for cached in _CACHED:
        cached.cache_clear()
    yield folder
    for cached in _CACHED:
        cached.cache_clear()


def test_a_missing_compiler_is_named_with_the_line_that_installs_it(tmp_path, bare_path):
    with pytest.raises(BackendUnavailable) as caught:
        firmware(LOOP, tmp_path, "cortex-m4")
    assert "arm-none-eabi-gcc is not installed" in str(caught.value)
    assert "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm" in str(caught.value)


def test_a_compiler_without_its_library_is_told_apart(tmp_path, bare_path):
    for name in ("arm-none-eabi-nm", "arm-none-eabi-objdump", "qemu-system-arm"):
        (bare_path / name).symlink_to("/bin/true")
    (bare_path / "arm-none-eabi-gcc").write_text("#!/bin/sh\necho nano.specs\n")
    (bare_path / "arm-none-eabi-gcc").chmod(0o755)
    with pytest.raises(BackendUnavailable, match="newlib, the C library for Arm, is not installed: apt-get install"):
        firmware(LOOP, tmp_path, "cortex-m4")


def test_a_cache_that_can_not_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BackendUnavailable, match=r"nothing can be kept in .*file/autoshrink/cortex_m .*XDG_CACHE_HOME"):
        firmware(LOOP, tmp_path, "cortex-m4")


def test_without_a_host_compiler_instructions_are_counted_by_the_clock(tmp_path, monkeypatch):
    built = firmware(LOOP, tmp_path, "cortex-m4")
    exact = run(built, np.zeros((1, 1), np.int8))
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm"):
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    monkeypatch.setenv("PATH", str(folder))
    counting.plugin.cache_clear()
    try:
        emulated = run(built, np.zeros((1, 1), np.int8))
    finally:
        counting.plugin.cache_clear()
    assert emulated.histogram is None
    assert emulated.counting == "icount: no C compiler for this machine (cc) to build the counting plugin with"
    assert abs(emulated.instructions - exact.instructions) <= 5


def test_objects_are_cached_where_the_user_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    firmware(LOOP, tmp_path, "cortex-m3")
    kept = sorted(path.name.partition("-")[0] for path in (tmp_path / "cache" / "autoshrink" / "cortex_m").iterdir())
    assert kept == ["buffers", "harness", "model", "startup"]


def test_a_build_leaves_the_map_and_the_linker_script(tmp_path):
    built = build([Path(_write(tmp_path, LOOP))], board("cortex-m4"), tmp_path, [tmp_path])
    assert built.elf.name == "firmware.elf"
    assert "model_invoke" in (tmp_path / "firmware.map").read_text()
    assert "LENGTH = 1048576" in (tmp_path / "firmware.ld").read_text()


def _write(folder: Path, source: str) -> Path:
    (folder / "model.h").write_text(f"#define MODEL_INPUT_SIZE 1\n#define MODEL_OUTPUT_SIZE 1\n{HEADER}")
    (folder / "model.c").write_text(source)
    return folder / "model.c"


assert sys.byteorder == "little"  # the emulated board and this machine agree on the report's integers
