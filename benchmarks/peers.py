"""autoshrink against Olive and against single tools: one model, one set of data, one stopwatch.

    python benchmarks/peers.py [--quick] [--time TIME] [--environment FOLDER]

The full run takes the Fashion-MNIST example, ``--quick`` the digits; both without the example's budget, which Olive
can't be told. `autoshrink search` runs first; then Olive 0.13.0 gets as many seconds for its search alone as that took
from start to end, and the float graph, the calibration images and the validation split that ours has (peers_olive.py
says what it searches). Olive's environment is made in FOLDER if it isn't there; that doesn't count. Beside them, each
alone (peers_tools.py): ONNX Runtime's static int8 with both types of activations, and Torch-Pruning at 50 %.

Then all models are measured in one run, in turn with the original: latency by our stopwatch at one thread, size, and
accuracy on the test split by plain onnxruntime. The hypervolume is that of (accuracy, latency, size) between the ideal
and the original's latency and size at the accuracy floor of the target: the share of that box which a front dominates.
Each search's front is the one that it chose itself, by its own figures and the validation split. Beside it stands the
hypervolume of *all* that it made, which would need the test split to choose from but forgives a wrong choice.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from onnxruntime.quantization import QuantType
from peers_case import Case, Search, prepare, run_olive, run_ours
from peers_judge import Judge, Model, Part, Verdict, compare
from peers_tools import prune, quantize
from reporting import picture, print_table, write_json

from autoshrink.core import parse_quantity, show_quantity

HERE = Path(__file__).resolve().parent
RATIO = 1.3
"""What is aimed at: our hypervolume over Olive's."""
QUICK, FULL = "45 s", "20 min"


@dataclass(frozen=True)
class Run:
    """What was compared, and how it went."""

    case: Case
    ours: Search
    olive: Search
    verdict: Verdict


def tools(case: Case) -> list[Model]:
    """Make the models of the single tools."""
    models = []
    for name, activations in (("S8S8", QuantType.QInt8), ("U8S8", QuantType.QUInt8)):
        file = case.folder / f"ort_{name}.onnx"
        quantize(case.float_model, case.calibration, activations, file)
        models.append(Model(f"ORT static int8 {name}", "tool", file))
    file = case.folder / "torch_pruning.onnx"
    prune(case.workload, file)
    return [*models, Model("Torch-Pruning 50 %", "tool", file)]


def compete(example: str, time: str, environment: Path, folder: Path) -> Run:
    """Let everyone work, and judge what they made."""
    case = prepare(example, folder)
    alone = tools(case)
    ours = run_ours(case, time)
    olive = run_olive(case, ours.seconds, environment)
    judge = Judge(case)
    models = [*ours.models, *olive.models, *alone]
    found = [judge.original(), *(judge.judged(number, model) for number, model in enumerate(models, 1))]
    verdict = compare(found, judge.floor(found[0][1]))
    return Run(case, ours, olive, verdict)


def show(run: Run) -> None:
    """Print the models that matter, and what follows."""
    verdict = run.verdict
    rows = [
        [
            item.model.name,
            f"{item.accuracy:.2%}{'' if item.above_floor else ' below the floor'}",
            f"{show_quantity(item.latency, 's')} {verdict.original.latency / item.latency:.1f}×",
            f"{show_quantity(item.size, 'B')} {verdict.original.size / item.size:.1f}×",
        ]
        for item in verdict.shown
    ]
    note = f"fronts at an accuracy on the test split of at least {verdict.floor:.4f}"
    title = f"{run.case.name}: fronts and single tools"
    print_table(title, ["model", "accuracy", "latency", "size"], rows, note=note)
    rows = [
        [
            name,
            f"{search.seconds:.0f} s",
            str(len(search.models)),
            f"{part.hypervolume:.4f}",
            f"{every.hypervolume:.4f}",
            *_best(part),
        ]
        for name, search, part, every in (
            ("autoshrink", run.ours, verdict.ours, verdict.ours_all),
            ("Olive", run.olive, verdict.olive, verdict.olive_all),
        )
    ]
    columns = ["", "wall time", "models", "hypervolume", "of all models", "best latency", "best size"]
    note = f"hypervolume: {_times(verdict.ratio)} Olive's (aim: {RATIO}), of all models {_times(verdict.ratio_all)}"
    print_table("Searches in the same wall time", columns, rows, note=note)
    rows = [
        [name, beaten.by, f"{beaten.faster:.2f}×", f"{beaten.smaller:.2f}×"] if beaten else [name, "none", "–", "–"]
        for name, beaten in verdict.against.items()
    ]
    columns = ["single tool", "our model at the floor", "as fast", "as small"]
    print_table("Single tools, each against the one model of our front that beats it by most", columns, rows)


def _best(part: Part) -> list[str]:
    if part.latency is None or part.size is None:
        return ["–", "–"]
    return [show_quantity(part.latency, "s"), show_quantity(part.size, "B")]


def _times(ratio: float | None) -> str:
    return "infinitely many times" if ratio is None else f"{ratio:.2f} ×"


def draw(run: Run, name: str) -> None:
    """Draw every model: accuracy over latency, accuracy over size, size over latency."""
    axes = {
        "latency": lambda item: item.latency * 1e6,
        "size": lambda item: item.size / 1000,
        "accuracy": lambda item: item.accuracy,
    }
    labels = {"latency": "latency, µs", "size": "size, kB", "accuracy": "accuracy on the test split"}
    kinds = {"ours": ("o", "C0"), "olive": ("s", "C1"), "tool": ("^", "C2"), "original": ("*", "k")}
    pairs = (("latency", "accuracy"), ("size", "accuracy"), ("latency", "size"))
    with picture(name, f"{run.case.name}: autoshrink, Olive and single tools", len(pairs)) as panels:
        for panel, (x, y) in zip(panels, pairs, strict=True):
            for kind, (marker, color) in kinds.items():
                found = [item for item in run.verdict.judged if item.model.kind == kind]
                panel.plot(*([axes[axis](item) for item in found] for axis in (x, y)), marker, color=color, label=kind)
            panel.set(xscale="log", yscale="log" if y == "size" else "linear", xlabel=labels[x], ylabel=labels[y])
            if y == "accuracy":
                panel.axhline(run.verdict.floor, color="0.5", linestyle="--", linewidth=1)
                best = max(item.accuracy for item in run.verdict.judged)
                panel.set_ylim(1.5 * run.verdict.floor - 0.5 * best, 1.1 * best - 0.1 * run.verdict.floor)
        panels[0].legend()


def figures(run: Run) -> dict[str, Any]:
    """Give everything as a document."""
    verdict = run.verdict
    return {
        "example": run.case.name,
        "aim": {"ratio": RATIO},
        "reference_point": {
            "accuracy": verdict.floor,
            "latency": verdict.original.latency,
            "size": verdict.original.size,
            "is": "the target's floor on the test split and the original's own costs",
        },
        "ratio": verdict.ratio,
        "ratio_all": verdict.ratio_all,
        "searches": {
            "ours": _document(run.ours, verdict.ours, verdict.ours_all),
            "olive": _document(run.olive, verdict.olive, verdict.olive_all),
        },
        "against": {name: vars(beaten) if beaten else None for name, beaten in verdict.against.items()},
        "models": [item.document() for item in verdict.judged],
    }


def _document(search: Search, part: Part, every: Part) -> dict[str, Any]:
    ended = {"seconds": search.seconds, "ended": search.ended, "models": len(search.models)}
    return {**ended, **vars(part), "hypervolume_all": every.hypervolume}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; gives 1 when it misses what is aimed at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"digits and {QUICK} instead of Fashion-MNIST and {FULL}")
    parser.add_argument("--time", help='for our search, e.g. "5 min"; Olive gets as much as it really took')
    parser.add_argument("--environment", type=Path, default=HERE / ".olive", help="Olive's virtual environment")
    options = parser.parse_args(arguments)
    time = options.time or (QUICK if options.quick else FULL)
    parse_quantity(time, "s")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="autoshrink-peers-") as scratch:
        example = "digits" if options.quick else "fashion_mnist"
        run = compete(example, time, options.environment.resolve(), Path(scratch))
    name = "peers_quick" if options.quick else "peers"
    path = write_json(name, figures(run))
    draw(run, name)
    show(run)
    print(f"figures and picture: {path} and .png")
    verdict = run.verdict
    reached = verdict.ratio is None or verdict.ratio >= RATIO
    return int(not (reached and all(beaten and beaten.both for beaten in verdict.against.values())))


if __name__ == "__main__":
    sys.exit(main())
