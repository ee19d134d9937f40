"""The cycle model: what each instruction costs, what the flash costs, and published figures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcu_firmware import CORES, HEADER, board, firmware, weighted_sums

from autoshrink.backends.cortex_m.cycles import estimate, measurement
from autoshrink.backends.cortex_m.disassembly import Instruction, disassemble
from autoshrink.backends.cortex_m.emulate import run
from autoshrink.backends.cortex_m.timings import TIMINGS, classify, cost
from autoshrink.core import Energy

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
ONE = np.zeros((1, 1), np.int8)


def looping(times: int, body: str) -> str:
    """Write a model that runs some instructions many times: r0 points to 8 bytes of RAM, r1 counts."""
    return f"""{HEADER}
    static int32_t data[16];
    int model_init(void) {{ return 0; }}
    __attribute__((naked, noinline)) static void loop(int32_t *at, int times)
    {{ __asm__ volatile(".syntax unified\\n push {{r4, r5, lr}}\\n b 1f\\n .balign 4\\n 1:\\n {body}\\n"
                        "subs r1, r1, #1\\n bne 1b\\n pop {{r4, r5, pc}}"); }}
    int model_invoke(const int8_t *in, int8_t *out) {{ loop(data, {times}); out[0] = in[0]; return 0; }}"""


@pytest.mark.parametrize(
    ("mnemonic", "operands", "kind"),
    [
        ("add.w", "r0, r1, r2", "plain"),
        ("bics", "r0, r1", "plain"),
        ("bne.n", "6c <x>", "branch"),
        ("ble.w", "6c <x>", "branch"),
        ("b.n", "6c <x>", "branch"),
        ("cbnz", "r3, 6c <x>", "branch"),
        ("bl", "6c <x>", "call"),
        ("blx", "r3", "indirect"),
        ("bxeq", "lr", "indirect"),
        ("ldr", "pc, [r3, #4]", "indirect"),
        ("tbb", "[pc, r0]", "indirect"),
        ("le", "lr, 6c <x>", "loop"),
        ("wlstp.8", "lr, r3, 6c <x>", "loop"),
        ("letp", "lr, 6c <x>", "loop"),
        ("ldrsb.w", "r0, [r1], #1", "load"),
        ("ldrd", "r0, r1, [r2]", "load_double"),
        ("strh", "r0, [r1]", "store"),
        ("strd", "r0, r1, [r2]", "store_double"),
        ("ldmia.w", "r0!, {r1, r2}", "load_many"),
        ("push", "{r4, lr}", "store_many"),
        ("mla", "r0, r1, r2, r3", "accumulate"),
        ("mul.w", "r0, r1, r2", "plain"),
        ("smlad", "r0, r1, r2, r3", "plain"),
        ("smlal", "r0, r1, r2, r3", "long_accumulate"),
        ("smlald", "r0, r1, r2, r3", "long_accumulate"),
        ("smull", "r0, r1, r2, r3", "long_multiply"),
        ("udiv", "r0, r1, r2", "divide"),
        ("vldr", "s0, [r0]", "load"),
        ("vmul.f32", "s0, s1, s2", "float"),
        ("vmla.f32", "s0, s1, s2", "float_accumulate"),
        ("vfma.f32", "s0, s1, s2", "float_accumulate"),
        ("vdiv.f32", "s0, s1, s2", "float_divide"),
        ("vldrb.8", "q0, [r0], #16", "vector_memory"),
        ("vst20.8", "{q0, q1}, [r0]", "vector_memory"),
        ("vmladava.s8", "r0, q0, q1", "vector"),
    ],
)
def test_an_instruction_is_of_one_kind(mnemonic, operands, kind):
    assert classify(Instruction(mnemonic, operands, 4)) == kind


@pytest.mark.parametrize(
    ("operands", "listed"),
    [("{r4, r5, lr}", (4, 5, 14)), ("sp!, {r4-r9, sl, fp, pc}", (*range(4, 12), 15)), ("{s16-s19}", (16, 17, 18, 19))],
)
def test_register_lists_are_read(operands, listed):
    instruction = Instruction("pop", operands, 2)
    assert instruction.listed == listed
    assert cost(TIMINGS["cortex-m4"], "load_many", instruction, None) == 1 + len(listed)


# Cycles of the body, then of subs and a taken bne, as the Technical Reference Manuals have them.
@pytest.mark.parametrize(
    ("core", "body", "cycles"),
    [
        ("cortex-m4", "nop", 1 + 4),
        ("cortex-m4", "ldr r2, [r0]", 2 + 4),
        ("cortex-m4", "ldr r2, [r0]\\n ldr r3, [r0, #4]\\n ldr r4, [r0, #8]", 4 + 4),
        ("cortex-m4", "str r2, [r0]\\n str r3, [r0]", 2 + 4),
        ("cortex-m4", "push {r2, r3, r4}\\n pop {r2, r3, r4}", 8 + 4),
        ("cortex-m4", "smlad r2, r3, r4, r5\\n mla r2, r3, r4, r5", 2 + 4),
        ("cortex-m4", "ldrd r2, r3, [r0]", 3 + 4),
        ("cortex-m3", "mla r2, r3, r4, r5", 2 + 4),
        ("cortex-m0plus", "ldr r2, [r0]\\n ldr r3, [r0, #4]", 4 + 3),
        ("cortex-m0plus", "str r2, [r0]\\n muls r2, r3, r2", 3 + 3),
        ("cortex-m0plus", "push {r2, r3, r4}\\n pop {r2, r3, r4}", 8 + 3),
    ],
)
def test_a_loop_costs_what_the_manual_says(core, body, cycles, tmp_path):
    totals = []
    for times in (100, 200):
        built = firmware(looping(times, body), tmp_path, core)
        totals.append(estimate(built, run(built, ONE)).value)
    assert totals[1] - totals[0] == pytest.approx(100 * cycles)


@settings(max_examples=3, deadline=None)
@given(wait=st.integers(1, 60), taps=st.integers(16, 200))
def test_the_flash_adds_its_wait_states_and_nothing_else(wait, taps, tmp_path_factory):
    source, folder = weighted_sums(np.ones((1, taps), np.int8)), tmp_path_factory.mktemp("flash")
    inputs = np.ones((1, taps), np.int8)
    free = firmware(source, folder, board("cortex-m4"), taps, 1)
    base = estimate(free, run(free, inputs))
    slow = firmware(source, folder, board("cortex-m4", wait=wait, instruction_cache="2 KiB"), taps, 1)
    emulated = run(slow, inputs)
    waiting = estimate(slow, emulated)
    assert base.flash == 0
    assert waiting.core == base.core
    assert waiting.flash == wait * sum(count.flash_reads for count in emulated.histogram.values())


@pytest.mark.parametrize("core", CORES)
def test_every_instruction_that_ran_is_disassembled(core, tmp_path):
    weights = np.random.default_rng(1).integers(-9, 9, (3, 40)).astype(np.int8)
    built = firmware(weighted_sums(weights), tmp_path, core, 40, 3)
    emulated = run(built, np.ones((1, 40), np.int8))
    assert set(emulated.histogram) <= set(disassemble(built.elf, core))
    cycles = estimate(built, emulated)
    assert 0.4 < cycles.value / emulated.instructions < 3


def test_a_measurement_says_what_is_modelled(tmp_path):
    energy = Energy(per_cycle="0.4 nJ", band="10 %", source="a test bench")
    built = firmware(looping(100, "nop"), tmp_path, board("cortex-m4").model_copy(update={"energy": energy}))
    measured = measurement(built, run(built, ONE))
    metrics = measured.metrics
    assert {name for name, metric in metrics.items() if metric.origin == "modelled"} == {"latency", "energy", "cycles"}
    assert {name for name, metric in metrics.items() if metric.origin == "emulated"} == {
        "memory", "size", "instructions", "stack"
    }  # fmt: skip
    assert metrics["latency"].value == pytest.approx(metrics["cycles"].value / 100e6)
    assert metrics["latency"].high == pytest.approx(1.2 * metrics["latency"].value)
    assert metrics["energy"].value == pytest.approx(metrics["cycles"].value * 0.4e-9)
    assert metrics["energy"].high == pytest.approx(1.2 * 1.1 * metrics["energy"].value)
    assert metrics["energy"].low == pytest.approx(0.8 * 0.9 * metrics["energy"].value)
    assert measured.conditions["energy"] == "a test bench"
    plain = firmware(looping(100, "nop"), tmp_path, "cortex-m4")
    assert "energy" not in measurement(plain, run(plain, ONE)).metrics


def test_an_overflow_is_an_excess_over_the_limit(tmp_path):
    tight = board("cortex-m4").model_copy(update={"flash": 600, "ram": 4096 + 8})
    built = firmware(weighted_sums(np.ones((4, 200), np.int8)), tmp_path, tight, 200, 4)
    emulated = run(built, np.ones((1, 200), np.int8))
    metrics = measurement(built, emulated).metrics
    assert metrics["size"].low >= tight.flash + built.overflow["flash"]
    assert metrics["memory"].low == tight.ram + built.overflow["ram"] > emulated.ram_bytes


def test_without_a_histogram_the_band_is_wider(tmp_path):
    built = firmware(looping(1000, "ldr r2, [r0]"), tmp_path, "cortex-m4")
    exact, rough = estimate(built, run(built, ONE)), estimate(built, run(built, ONE, count=False))
    assert rough.band > exact.band
    assert rough.value * (1 - rough.band) <= exact.value <= rough.value * (1 + rough.band)


@pytest.fixture(scope="module")
def benchmark_module():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import mcu_cycles

        yield mcu_cycles
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_factors_are_those_of_published_figures(benchmark_module):
    for core in ("cortex-m33", "cortex-m7"):
        assert TIMINGS[core].factor == pytest.approx(benchmark_module.fitted_factor(core), abs=0.01)


def test_every_published_figure_has_its_source(benchmark_module):
    figures = benchmark_module.published()
    assert len(figures) >= 20
    assert all(len(figure.source) > 20 and figure.cycles > 1000 for figure in figures)


def test_code_whose_cycles_are_published_is_predicted_within_a_tenth(benchmark_module, tmp_path):
    try:
        rows = list(benchmark_module.same_code(tmp_path))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"bakenn can't be fetched here: {error}")
    assert {row[0].network: row[0].cycles for row in rows}.items() >= {"fc_cmsis": 3786, "fc_portable": 8706}.items()
    for figure, predicted, fitted in rows:
        assert 0.9 <= predicted / figure.cycles <= 1.1, figure.network
        assert 0.9 <= fitted / figure.cycles <= 1.1, figure.network


@pytest.mark.parametrize("profile", ["stm32l4r5", "stm32u585", "stm32h743", "stm32g0b1"])
def test_no_network_is_slower_than_what_was_published(profile, benchmark_module, tmp_path):
    rows = list(benchmark_module.same_network(tmp_path, [profile]))
    assert {row.network for row in rows} == {"ds_cnn", "resnet8"}
    for row in rows:
        macs = benchmark_module.MACS[row.network]
        assert row.predicted > macs / (4 if row.core == "cortex-m7" else 2), row  # at best two MACs an instruction
        assert row.verdict != "slower", row
