"""The command line of the service; like `autoshrink.cli`, it imports nothing heavy before a command runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated

import typer

from autoshrink.console.choices import RoleName
from autoshrink.console.options import Address, StoreUrl

__all__ = ["add_service_commands"]

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="postgresql+psycopg://…; by default SQLite in the store.",
        envvar="AUTOSHRINK_DATABASE",
    ),
]
TokenName = Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is.", show_default=False)]


def add_service_commands(app: typer.Typer, reported: Callable[[], AbstractContextManager[None]]) -> None:
    """Add ``serve`` and ``tokens``.

    Args:
        app: the command line.
        reported: turns an error of the user's into one message and its exit code.
    """
    tokens = typer.Typer(no_args_is_help=True, help="Who may use the service: read, submit or administrate.")
    app.add_typer(tokens, name="tokens")

    @app.command()
    def serve(
        host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8420,
        projects: Annotated[
            list[Path] | None, typer.Option(metavar="DIR", help="Targets in it may be submitted by path; repeatable.")
        ] = None,
        allow_code: Annotated[
            list[Path] | None, typer.Option(metavar="DIR", help="So may those with Python code; repeatable.")
        ] = None,
        searches: Annotated[int, typer.Option(min=1, max=1024, help="Searches at the same time.")] = 1,
        database: DatabaseUrl = None,
        address: Address = None,
        body_limit: Annotated[str, typer.Option(metavar="SIZE", help="The largest upload.")] = "64 MiB",
        requests: Annotated[int, typer.Option(min=1, help="Requests a minute and token.")] = 1200,
        submissions: Annotated[int, typer.Option(min=1, help="Submissions a minute and token.")] = 300,
        store: StoreUrl = None,
    ) -> None:
        """Serve searches over REST: submit, follow, cancel, fetch."""
        with reported():
            from autoshrink.console.serve import serve as run

            raise typer.Exit(
                run(
                    host,
                    port,
                    projects=projects or [],
                    code=allow_code or [],
                    searches=searches,
                    database=database,
                    address=address,
                    body_limit=body_limit,
                    requests=requests,
                    submissions=submissions,
                    store=store,
                )
            )

    @tokens.command("add")
    def add(
        name: TokenName,
        role: Annotated[RoleName, typer.Option(help="What its owner may do.")] = RoleName.READ,
        expires: Annotated[str | None, typer.Option(metavar="TIME", help="After how long, such as 30d.")] = None,
        database: DatabaseUrl = None,
        store: StoreUrl = None,
    ) -> None:
        """Make a token, and print its secret this once."""
        with reported():
            from autoshrink.console.serve import add_token

            raise typer.Exit(add_token(name, role.value, expires=expires, database=database, store=store))

    @tokens.command("list")
    def listed(database: DatabaseUrl = None, store: StoreUrl = None) -> None:
        """List the tokens, without their secrets."""
        with reported():
            from autoshrink.console.serve import list_tokens

            raise typer.Exit(list_tokens(database=database, store=store))

    @tokens.command("revoke")
    def revoke(name: TokenName, database: DatabaseUrl = None, store: StoreUrl = None) -> None:
        """Have a token count no more, at once."""
        with reported():
            from autoshrink.console.serve import revoke_token

            raise typer.Exit(revoke_token(name, database=database, store=store))
