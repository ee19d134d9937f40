"""The commands that look at the installation, or complete it: targets, doctor, schema."""

from __future__ import annotations

import json
import time
from importlib.metadata import PackageNotFoundError, version

from rich.console import Console
from rich.table import Table
from rich.text import Text

from autoshrink import __version__
from autoshrink.console.printing import PlainConsole
from autoshrink.core import (
    Document,
    Hardware,
    Recipe,
    Space,
    SpecError,
    Target,
    catalog_folder,
    names,
    nearest,
    show_quantity,
)
from autoshrink.techniques.registry import check_space, kinds, technique

__all__ = ["doctor", "make_environment", "schema", "targets"]

_PACKAGES = ("torch", "onnxruntime", "optuna", "ray", "mlflow", "pydantic", "torch-pruning", "moocore")


def targets() -> int:
    """List the profiles: name, backend, limits, energy source, and ready or what is missing."""
    from autoshrink.backends.readiness import ready

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("profile", "what", "backend", "device", "limits", "energy", "ready"):
        table.add_column(heading, overflow="fold")
    for name in names("targets"):
        hardware = Hardware.read(catalog_folder("targets") / f"{name}.yaml")
        limits = [f"{key} {show_quantity(value, 'B')}" for key, value in hardware.limits if value is not None]
        energy = "modelled" if hardware.energy else "none"
        missing = ready(hardware)
        state = Text(missing, style="yellow") if missing else Text("ready", style="green")
        table.add_row(name, hardware.name, hardware.backend, hardware.device, ", ".join(limits), energy, state)
    PlainConsole().print(table)
    return 0


def doctor() -> int:
    """Check packages, spaces, energy sensors and profiles; what is missing comes with the line that installs it."""
    console = PlainConsole()
    console.print(f"autoshrink {__version__}")
    broken = 0
    for package in _PACKAGES:
        try:
            console.print(f"  {package} {version(package)}", highlight=False)
        except PackageNotFoundError:
            broken += 1
            missing = Text.assemble("  ", (f"{package} is missing", "red"), ": pip install -c constraints.txt -e .")
            console.print(missing)
    console.print(f"techniques: {', '.join(kinds())}")
    for name in names("search_spaces"):
        check_space(Space.read(catalog_folder("search_spaces") / f"{name}.yaml"))
    console.print(f"search spaces: {', '.join(names('search_spaces'))}")
    _sensors(console)
    targets()
    return 1 if broken else 0


def _sensors(console: Console) -> None:
    """List the energy sensors of this machine, and what keeps others from being read."""
    from autoshrink.devices.harness.sensors import sensors

    names, troubles = sensors()
    if names:
        console.print(f"energy sensors: {'; '.join(names)}", highlight=False)
    else:
        console.print("no energy sensors: energy figures are modelled", highlight=False)
    for trouble in troubles:
        console.print(f"  {trouble}", style="yellow", highlight=False)


def make_environment(kind: str) -> int:
    """Make the Python environment of a runtime that can't share autoshrink's, or say that it is there.

    Raises:
        SpecError: no backend of this name has one.
        BackendUnavailable: it can't be made.
    """
    from autoshrink.backends.base import DeployedBackend
    from autoshrink.backends.registry import backend
    from autoshrink.backends.registry import kinds as backends

    runtimes = {name: backend(name) for name in backends()}
    found = {name: one.environment for name, one in runtimes.items() if isinstance(one, DeployedBackend)}
    known = {name: environment for name, environment in found.items() if environment is not None}
    if kind not in known:
        about = "needs no environment of its own" if kind in runtimes else "is no backend"
        raise SpecError(f"--setup {kind}: it {about}; {nearest(kind, known)}")
    console, begun = PlainConsole(soft_wrap=True, highlight=False), time.perf_counter()
    made = known[kind].make(lambda text: console.print(f"  {text}"))
    if made:
        console.print(f"{kind} is ready in {known[kind].folder} ({time.perf_counter() - begun:.0f} s)")
    else:
        console.print(f"{kind} is there already, in {known[kind].folder}")
    return 0


def schema(kind: str) -> int:
    """Print the JSON schema of one of the files that a user writes."""
    documents: dict[str, type[Document]] = {"target": Target, "hardware": Hardware, "space": Space, "recipe": Recipe}
    if kind not in documents:
        raise SpecError(f"no schema {kind!r}; {nearest(kind, documents)}")
    document = documents[kind].model_json_schema()
    if kind in ("space", "recipe"):
        step = document["$defs"]["Step" if kind == "space" else "Setting"]
        step["properties"]["kind"]["enum"] = list(kinds())
        for name in kinds():
            for setting, field in technique(name).model_json_schema()["properties"].items():
                value = {key: field[key] for key in ("enum", "description") if key in field and kind == "recipe"}
                step["properties"].setdefault(setting, value)
    print(json.dumps(document, indent=2))
    return 0
