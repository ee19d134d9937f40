"""Tokens: who may read, submit and administrate.

A token's secret is 256 random bits, so that one pass of SHA-256 is enough to keep it: a slow hash protects passwords,
which people choose and others guess. It is looked up by an id that is no secret, and compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from autoshrink.core import SpecError, nearest, parse_quantity
from autoshrink.service.server.database import Database, tokens

__all__ = ["Role", "Token", "Tokens"]

_USED_EVERY = 60.0
"""Seconds; when a token was used last is not kept more often."""
_LONGEST = 10 * 366 * 86400.0
_WRITTEN = re.compile(r"as_([0-9a-f]{12})_([\w-]{43})")


class Role(StrEnum):
    """What a token's owner may do; each role may do what those before it may."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def covers(self, other: Role) -> bool:
        """Whether this role may do what needs the other."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class Token:
    """What is known of a token, without its secret; times are seconds since 1970."""

    name: str
    role: Role
    made: float
    expires: float | None
    used: float | None


class Tokens:
    """All tokens; one that is revoked is gone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, role: Role, expires: str | None = None) -> str:
        """Make a token.

        Args:
            name: whose it is.
            role: what its owner may do.
            expires: after how long it is of no more use, such as ``30 d``; by default never.

        Returns:
            The secret, which is kept nowhere.

        Raises:
            SpecError: the name is taken or can't be one, or the time can't be read.
        """
        if not re.fullmatch(r"\w[\w.@-]{0,63}", name, re.ASCII):
            raise SpecError(f"token {name!r}: use at most 64 letters, digits, '.', '@', '-' and '_'")
        number, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), time.time()
        row = {
            "id": number,
            "name": name,
            "role": role.value,
            "digest": _digest(secret),
            "made": now,
            "expires": None if expires is None else now + _duration(expires),
        }
        try:
            with self._database.write() as connection:
                connection.execute(tokens.insert().values(row))
        except IntegrityError:
            raise SpecError(f"there is a token {name!r} already: revoke it first, or use another name") from None
        return f"as_{number}_{secret}"

    def find(self, written: str) -> Token | None:
        """Find the token of a secret; None where there is none, or it has expired."""
        parts = _WRITTEN.fullmatch(written)
        if parts is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(select(tokens).where(tokens.c.id == parts[1])).one_or_none()
        if row is None or not hmac.compare_digest(row._mapping["digest"], _digest(parts[2])):
            return None
        token, now = _token(row._mapping), time.time()
        if token.expires is not None and token.expires <= now:
            return None
        if token.used is None or now - token.used > _USED_EVERY:
            with self._database.write() as connection:
                connection.execute(update(tokens).where(tokens.c.id == parts[1]).values(used=now))
        return token

    def all(self) -> list[Token]:
        """List the tokens by name."""
        with self._database.read() as connection:
            return [_token(row._mapping) for row in connection.execute(select(tokens).order_by(tokens.c.name))]

    def revoke(self, name: str) -> None:
        """Have a token count no more.

        Raises:
            SpecError: there is none of this name.
        """
        with self._database.write() as connection:
            gone = connection.execute(delete(tokens).where(tokens.c.name == name)).rowcount
        if not gone:
            raise SpecError(f"no token {name!r}; {nearest(name, [token.name for token in self.all()])}")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _duration(text: str) -> float:
    try:
        seconds = parse_quantity(text, "s")
    except ValueError as error:
        raise SpecError(f"expires: {error}") from None
    if seconds > _LONGEST:
        raise SpecError(f"expires: {text!r} is more than ten years: leave it out")
    return seconds


def _token(row: Mapping[Any, Any]) -> Token:
    values = {name: row[name] for name in Token.__dataclass_fields__}
    return Token(**{**values, "role": Role(values["role"])})
