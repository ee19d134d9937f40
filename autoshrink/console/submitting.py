"""The command line of the service's clients; like `autoshrink.cli`, it imports nothing heavy before a command runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from autoshrink.console.options import Candidates, JsonFile, TargetFile, TimeLimit

__all__ = ["add_client_commands"]

Server = Annotated[str | None, typer.Option(metavar="URL", help="The service's address.", envvar="AUTOSHRINK_SERVER")]
Token = Annotated[
    str | None, typer.Option(metavar="TOKEN", help="From 'autoshrink tokens add'.", envvar="AUTOSHRINK_TOKEN")
]


def add_client_commands(app: typer.Typer, reported: Callable[[], AbstractContextManager[None]]) -> None:
    """Add ``submit`` and ``status``.

    Args:
        app: the command line.
        reported: turns an error of the user's into one message and its exit code.
    """

    @app.command()
    def submit(
        target: TargetFile,
        server: Server = None,
        token: Token = None,
        candidates: Candidates = None,
        time: TimeLimit = None,
        project: Annotated[
            bool, typer.Option("--project", help="Send the path, to a service on this machine that allows it.")
        ] = False,
        follow: Annotated[bool, typer.Option("--follow", help="Show the search until it has ended.")] = False,
        json: JsonFile = None,
    ) -> None:
        """Have a service search: send it the target with its model and data."""
        with reported():
            from autoshrink.console.submit import submit as run

            raise typer.Exit(
                run(
                    target,
                    server=server,
                    token=token,
                    candidates=candidates,
                    time=time,
                    project=project,
                    follow=follow,
                    json=json,
                )
            )

    @app.command()
    def status(
        job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job; by default all.")] = None,
        server: Server = None,
        token: Token = None,
        cancel: Annotated[bool, typer.Option("--cancel", help="End the job; what it found is kept.")] = False,
        resume: Annotated[bool, typer.Option("--resume", help="Go on with a job that ended without a front.")] = False,
        follow: Annotated[bool, typer.Option("--follow", help="Show the search until it has ended.")] = False,
        fetch: Annotated[
            Path | None, typer.Option(metavar="DIR", help="Fetch a candidate's files, by default the knee's.")
        ] = None,
        candidate: Annotated[int | None, typer.Option(min=0, help="Which one to fetch.")] = None,
        json: JsonFile = None,
    ) -> None:
        """Show a service's jobs, or one of them with its front."""
        with reported():
            from autoshrink.console.submit import status as run

            raise typer.Exit(
                run(
                    job,
                    server=server,
                    token=token,
                    cancel=cancel,
                    resume=resume,
                    follow=follow,
                    fetch=fetch,
                    candidate=candidate,
                    json=json,
                )
            )
