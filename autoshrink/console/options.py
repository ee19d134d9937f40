"""The options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Address",
    "Artifacts",
    "CandidateTimeout",
    "Candidates",
    "JsonFile",
    "SearchName",
    "StoreUrl",
    "StudyUrl",
    "TargetFile",
    "TimeLimit",
    "Webhook",
    "Workers",
]

TargetFile = Annotated[Path, typer.Argument(metavar="TARGET", help="The target's YAML file.", show_default=False)]
SearchName = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="A search; by default the latest.", show_default=False)
]
StoreUrl = Annotated[
    str | None,
    typer.Option("--store", metavar="URL", help="The folder that holds all searches.", envvar="AUTOSHRINK_STORE"),
]
Artifacts = Annotated[
    str | None, typer.Option(metavar="URL", help="Keep the files of models here, too.", envvar="AUTOSHRINK_ARTIFACTS")
]
StudyUrl = Annotated[
    str | None, typer.Option("--study", metavar="URL", help="PostgreSQL for the trials.", envvar="AUTOSHRINK_STUDY")
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the result as one JSON document; - for stdout.")
]
Candidates = Annotated[int | None, typer.Option(min=1, help="How many recipes to try at most.")]
TimeLimit = Annotated[
    str | None, typer.Option("--time", metavar="TIME", help='Start no candidate after, e.g. "5 min".')
]
CandidateTimeout = Annotated[str | None, typer.Option(metavar="TIME", help="End a piece of work that takes longer.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Candidates in work at the same time.")]
Address = Annotated[str | None, typer.Option(metavar="RAY", help="A Ray cluster's address; by default this machine.")]

Webhook = Annotated[str | None, typer.Option(metavar="URL", help="Post what changed.", envvar="AUTOSHRINK_WEBHOOK")]
