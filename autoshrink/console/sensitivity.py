"""The command that shows how much each layer of a model bears."""

from __future__ import annotations

import json as json_module
from pathlib import Path

from rich.table import Table
from rich.text import Text

from autoshrink.console.given import write_json
from autoshrink.console.printing import plain_console
from autoshrink.core import LayerSensitivity, Option, Sensitivity, SpecError, Target
from autoshrink.search.store import store_root

__all__ = ["sensitivity"]

_SHOWN = {"channel_pruning": (0.3, 0.5, 0.7, 0.9), "low_rank": (0.6, 0.4, 0.2)}
_MEASURES = {"kl_divergence": "the divergence of its answers from the original's, in nats",
             "squared_error": "the mean squared difference of its answers from the original's"}  # fmt: skip


def sensitivity(path: Path, *, store: str | None, json: Path | None, plot: Path | None) -> int:
    """Measure, print and plot the table of a target's model."""
    target = Target.read(path)
    if plot is not None and plot.suffix not in (".png", ".html"):
        raise SpecError(f"--plot {plot}: the file's name ends in .png or .html")
    if plot is not None and not plot.parent.is_dir():
        raise SpecError(f"--plot {plot}: there is no folder {plot.parent}")
    from autoshrink.service.sensitivity import table_of

    found = table_of(target, store_root(store))
    if not found.layers:
        raise SpecError(f"{path}: {target.model} has no convolution and no linear layer that could be compressed")
    console = plain_console(json)
    title = f"Sensitivity of {target.model}"
    console.print(sensitivity_table(found, title))
    console.print(explanation(found), style="dim", highlight=False)
    write_json(json_module.loads(found.model_dump_json()), json)
    if plot is not None:
        from autoshrink.tracking.heat_map import plot_sensitivity

        files = {".png": None, ".html": None} | {plot.suffix: plot}
        plot_sensitivity(found, title, files[".png"], files[".html"])
        console.print(f"Plot: {plot}", highlight=False, soft_wrap=True)
    return 0


def sensitivity_table(found: Sensitivity, title: str) -> Table:
    """Lay out layers × options; the most sensitive layer of each column is bold and red."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    for heading in ("weights", "MACs"):
        table.add_column(heading, justify="right")
    columns = _columns(found)
    for heading, _ in columns:
        table.add_column(heading, justify="right")
    worst = [max((o.loss for layer in found.layers if (o := _find(layer, key))), default=0.0) for _, key in columns]
    for layer in found.layers:
        cells = [_cell(_find(layer, key), most) for (_, key), most in zip(columns, worst, strict=True)]
        table.add_row(layer.name, _short(layer.weights), _short(layer.macs), *cells)
    return table


def explanation(found: Sensitivity) -> str:
    """Say to a stranger how the table is read."""
    return (
        "How to read it: each figure says what one option, applied to that layer alone and before any training, does "
        f"to the model: {_MEASURES[found.measure]}, on {found.examples} calibration examples. 0 changes nothing; below "
        "0.01 hardly a prediction changes, around 1 most of the certainty is lost. prune: this share of its channels "
        "removed (layers whose channels are coupled share the figures); rank: this share of its rank kept; int8, int4: "
        "its weights rounded. The most sensitive layer of a column stands out: spare it, and take from the others. "
        f"Measured in {found.seconds:.1f} s; the original's own loss is {found.base_loss:.3g}."
    )


_Key = tuple[str, float, str | None]


def _columns(found: Sensitivity) -> list[tuple[str, _Key]]:
    columns: list[tuple[str, _Key]] = [
        *((f"prune {value:.0%}", ("channel_pruning", value, None)) for value in _SHOWN["channel_pruning"]),
        *((f"rank {value:.0%}", ("low_rank", value, None)) for value in _SHOWN["low_rank"]),
        ("int8", ("quantization", 8, "per_channel")),
        ("int4", ("quantization", 4, "per_channel")),
        ("int4 blocks", ("quantization", 4, "per_block")),
    ]
    return [(name, key) for name, key in columns if any(_find(layer, key) for layer in found.layers)]


def _find(layer: LayerSensitivity, key: _Key) -> Option | None:
    return next((o for o in layer.options if (o.kind, o.value, o.granularity) == key), None)


def _cell(option: Option | None, worst: float) -> Text:
    if option is None:
        return Text("–", style="dim")
    return Text(f"{option.loss:.2g}", style="bold red" if option.loss == worst > 0 else "")


def _short(number: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:g}"
