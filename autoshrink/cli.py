"""The command line; each command imports what it needs, so that help and errors come at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from autoshrink import __version__
from autoshrink.console.choices import Preference
from autoshrink.console.options import (
    Address,
    Artifacts,
    Candidates,
    CandidateTimeout,
    JsonFile,
    SearchName,
    StoreUrl,
    StudyUrl,
    TargetFile,
    TimeLimit,
    Webhook,
    Workers,
)
from autoshrink.console.serving import add_service_commands
from autoshrink.console.submitting import add_client_commands

__all__ = ["app", "main"]

app = typer.Typer(
    name="autoshrink",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Compress a trained model for a device: declare the limits, get back measured models that keep them.",
    epilog="Exit codes: 0 a front, 1 our own fault, 2 wrong input, 3 no candidate meets the limits, "
    "4 device or runtime unavailable, 130 interrupted.",
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"autoshrink {__version__}")
        raise typer.Exit


@app.command()
def demo(
    candidates: Candidates = None,
    time: TimeLimit = None,
    workers: Workers = None,
    store: StoreUrl = None,
    json: JsonFile = None,
    folder: Annotated[Path, typer.Option(help="Where to put the example.")] = Path("autoshrink-demo"),
) -> None:
    """Run the main job on scikit-learn's digits: train a model, search, show the front."""
    with _reported():
        from autoshrink.console.commands import demo as run

        raise typer.Exit(run(folder, candidates=candidates, time=time, workers=workers, store=store, json=json))


@app.command()
def search(
    target: Annotated[Path | None, typer.Argument(metavar="TARGET", help="The target's YAML file.")] = None,
    candidates: Candidates = None,
    time: TimeLimit = None,
    candidate_timeout: CandidateTimeout = None,
    workers: Workers = None,
    address: Address = None,
    name: Annotated[str | None, typer.Option(help="What to call the search.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="NAME", help="Go on with a search that was ended.")] = None,
    artifacts: Artifacts = None,
    study: StudyUrl = None,
    store: StoreUrl = None,
    json: JsonFile = None,
) -> None:
    """Search for compressed models that keep the target's limits, and show the measured Pareto front."""
    with _reported():
        from autoshrink.console.commands import search as run

        raise typer.Exit(
            run(
                target,
                candidates=candidates,
                time=time,
                candidate_timeout=candidate_timeout,
                workers=workers,
                address=address,
                name=name,
                resume=resume,
                artifacts=artifacts,
                study=study,
                store=store,
                json=json,
            )
        )


@app.command()
def measure(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file, such as model.onnx.")],
    on: Annotated[str, typer.Option("--on", metavar="HARDWARE", help="A profile's name or path.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure one model on one device: latency, memory, size and energy."""
    with _reported():
        from autoshrink.console.commands import measure as run

        raise typer.Exit(run(model, on, json=json))


@app.command()
def front(
    name: SearchName = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the front: .png or .html.")] = None,
    report: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A report, .html or .md; repeatable.")
    ] = None,
    store: StoreUrl = None,
) -> None:
    """Show the front of a past search, finished or not."""
    with _reported():
        from autoshrink.console.commands import front as run

        raise typer.Exit(run(name, json=json, plot=plot, report=report or [], store=store))


@app.command()
def pick(
    name: SearchName = None,
    candidate: Annotated[int | None, typer.Argument(metavar="[CANDIDATE]", help="The candidate's id.")] = None,
    prefer: Annotated[Preference, typer.Option(help="Without an id: what to pick by.")] = Preference.KNEE,
    register: Annotated[str | None, typer.Option(metavar="MODEL", help="Register it in MLflow as MODEL.")] = None,
    alias: Annotated[str | None, typer.Option(metavar="A", help="Give the version this alias.")] = None,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy the files, recipe and figures there.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    store: StoreUrl = None,
) -> None:
    """Take a model of the front: copy its files, register it, or just show it."""
    with _reported():
        from autoshrink.console.commands import pick as run

        raise typer.Exit(
            run(name, candidate, prefer.value, register=register, alias=alias, to=to, json=json, store=store)
        )


@app.command()
def ui(
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="MLflow's database; by default MLFLOW_TRACKING_URI, else sqlite:///mlflow.db."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen at.")] = 5000,
    artifacts: Annotated[str | None, typer.Option(metavar="URL", help="Where clients' artifacts are kept.")] = None,
    basic_auth: Annotated[bool, typer.Option("--basic-auth", help="With MLflow's basic authentication.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="The server's processes.")] = 1,
) -> None:
    """Start MLflow with the Pareto view: look at searches, and pick a model."""
    with _reported():
        from autoshrink.console.ui import ui as run

        raise typer.Exit(run(store, host, port, artifacts=artifacts, basic_auth=basic_auth, workers=workers))


@app.command()
def apply(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe's YAML file.")],
    target: TargetFile,
    to: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy the artifact's files there.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Run one recipe again, by itself, and measure what comes out."""
    with _reported():
        from autoshrink.console.commands import apply as run

        raise typer.Exit(run(recipe, target, to=to, json=json))


@app.command()
def sensitivity(
    target: TargetFile,
    json: JsonFile = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw a heat map: .png or .html.")] = None,
    store: StoreUrl = None,
) -> None:
    """Show how much each layer bears: what pruning, a lower rank or fewer bits do to it alone."""
    with _reported():
        from autoshrink.console.sensitivity import sensitivity as run

        raise typer.Exit(run(target, store=store, json=json, plot=plot))


@app.command()
def reoptimize(
    target: TargetFile,
    time: Annotated[str | None, typer.Option(metavar="TIME", help="How long to search on after that.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Measure anew even if nothing changed.")] = False,
    webhook: Webhook = None,
    store: StoreUrl = None,
    json: JsonFile = None,
) -> None:
    """Look whether the hardware changed since the target's last search; if so, go on from there."""
    with _reported():
        from autoshrink.console.reoptimize import reoptimize as run

        raise typer.Exit(run(target, time=time, force=force, webhook=webhook, store=store, json=json))


@app.command()
def watch(
    targets: Annotated[list[Path] | None, typer.Argument(metavar="[TARGET]...", help="Default: as last time.")] = None,
    every: Annotated[str | None, typer.Option(metavar="TIME", help='How often, e.g. "6h", the default.')] = None,
    cron: Annotated[str | None, typer.Option(metavar="LINE", help='When, as cron writes it: "0 3 * * *".')] = None,
    once: Annotated[bool, typer.Option("--once", help="Visit each target now, and end.")] = False,
    webhook: Webhook = None,
    store: StoreUrl = None,
) -> None:
    """Visit targets on a schedule, and re-optimize those whose hardware changed."""
    with _reported():
        from autoshrink.console.reoptimize import watch as run

        raise typer.Exit(run(targets or [], every=every, cron=cron, once=once, webhook=webhook, store=store))


@app.command()
def targets() -> None:
    """List the hardware profiles, and whether each can be used here."""
    with _reported():
        from autoshrink.console.inventory import targets as run

        raise typer.Exit(run())


@app.command()
def doctor(
    setup: Annotated[
        str | None,
        typer.Option(metavar="BACKEND", help="Make the Python environment of a runtime that needs its own (mxnet)."),
    ] = None,
) -> None:
    """Check this installation: packages, profiles, spaces, and what to install for what is missing."""
    with _reported():
        from autoshrink.console.inventory import doctor, make_environment

        raise typer.Exit(doctor() if setup is None else make_environment(setup))


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(help="target, hardware, space or recipe.")] = "target",
) -> None:
    """Print the JSON schema of a file, for editors that complete YAML."""
    with _reported():
        from autoshrink.console.inventory import schema as run

        raise typer.Exit(run(kind))


def main() -> None:
    """Run the command line."""
    app()


@contextmanager
def _reported() -> Iterator[None]:
    """Turn an error of the user's into one message and its exit code; a bug of ours keeps its traceback."""
    from autoshrink.core.errors import AutoshrinkError

    try:
        yield
    except AutoshrinkError as error:
        from autoshrink.console.printing import print_error

        print_error(str(error))
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from None


add_service_commands(app, _reported)
add_client_commands(app, _reported)
