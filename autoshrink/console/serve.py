"""The commands of the service: serve, and the tokens that its users need."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from autoshrink.console.printing import plain_console
from autoshrink.core import SpecError, parse_quantity
from autoshrink.search.store import store_root
from autoshrink.service.server.audit import moment
from autoshrink.service.server.checks import Places
from autoshrink.service.server.listen import bind, listen
from autoshrink.service.server.runner import Processes
from autoshrink.service.server.service import FOLDER, RUNS, Rules, Service, open_database
from autoshrink.service.server.tokens import Role, Tokens

__all__ = ["add_token", "list_tokens", "revoke_token", "serve"]


def serve(
    host: str,
    port: int,
    *,
    projects: Sequence[Path],
    code: Sequence[Path],
    searches: int,
    database: str | None,
    address: str | None,
    body_limit: str,
    requests: int,
    submissions: int,
    store: str | None,
) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    root = store_root(store).resolve()
    for folder in (*projects, *code):
        if not folder.is_dir():
            raise SpecError(f"{'--projects' if folder in projects else '--allow-code'} {folder}: no such folder")
    rules = Rules(Places(tuple(projects), tuple(code)), _bytes(body_limit), requests, submissions, searches)
    kept = open_database(root, database)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    console = plain_console()

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    try:
        service = Service(root, kept, Processes(root, root / FOLDER / RUNS, address), rules)
        with bind(host, port) as taken:
            place = f"http://{f'[{host}]' if ':' in host else host}:{taken.getsockname()[1]}"
            if not _is_local(host):
                say(f"Warning: {host} is reached from other machines, and this is not encrypted: put TLS before it.")
            if not service.tokens.all():
                where = f" --store {root}" if database is None else " --database URL"
                say(f"There is no token yet: autoshrink tokens add NAME --role submit{where}")
            code_ = listen(service, taken, lambda: say(f"Serving {place}/v1, searches in {root}/"))
    finally:
        kept.close()
    say("Ended; what is queued is kept, and searches that run go on: the next 'autoshrink serve' looks after them.")
    return code_


def add_token(name: str, role: str, *, expires: str | None, database: str | None, store: str | None) -> int:
    """Make a token, and print its secret."""
    secret = _tokens(database, store).add(name, Role(role), expires)
    print(secret)
    return 0


def list_tokens(*, database: str | None, store: str | None) -> int:
    """List the tokens."""
    table = Table("name", "role", "made", "expires", "last used")
    for token in _tokens(database, store).all():
        times = (moment(at) or "never" for at in (token.expires, token.used))
        table.add_row(token.name, token.role, moment(token.made), *times)
    plain_console().print(table)
    return 0


def revoke_token(name: str, *, database: str | None, store: str | None) -> int:
    """Revoke a token."""
    _tokens(database, store).revoke(name)
    plain_console().print(f"Revoked {name}")
    return 0


def _tokens(database: str | None, store: str | None) -> Tokens:
    return Tokens(open_database(store_root(store), database))


def _bytes(text: str) -> int:
    try:
        return max(1, int(parse_quantity(text, "B")))
    except ValueError as error:
        raise SpecError(f"--body-limit: {error}") from None


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
