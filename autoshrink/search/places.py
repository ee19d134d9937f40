"""Where a search keeps what is not in its folder alone: addresses, which are written down without their secrets."""

from __future__ import annotations

import json
import os
import re
import secrets
from dataclasses import dataclass, fields, replace
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlparse, urlsplit, urlunsplit

from autoshrink.core import AutoshrinkError, SpecError

__all__ = ["DEFAULT_ROOT", "Places", "StorageGone", "bare", "first_line", "store_root"]

DEFAULT_ROOT = ".autoshrink"
"""The folder in the current one that holds all searches where nothing else is said."""
_SECRET = re.compile(r"pass|secret|token|key|credential|signature", re.IGNORECASE)


class StorageGone(AutoshrinkError):
    """A place that a search keeps something in does not answer, after several tries; the search can be resumed."""

    exit_code = 4


@dataclass(frozen=True)
class Places:
    """Addresses; None for the search's own folder."""

    artifacts: str | None = None
    study: str | None = None
    study_name: str | None = None
    """The study's, which no other search of the same name has, on whatever machine."""

    @classmethod
    def given(cls, artifacts: str | None = None, study: str | None = None) -> Places:
        """Take what the user gave, by an option or by the environment's variable."""
        artifacts = artifacts or os.environ.get("AUTOSHRINK_ARTIFACTS") or None
        if artifacts is not None and "://" not in artifacts:
            artifacts = str(Path(artifacts).absolute())
        return cls(artifacts, study or os.environ.get("AUTOSHRINK_STUDY") or None)

    @classmethod
    def kept(cls, file: Path) -> Places:
        """Read what was written down, with the password that the environment has for the same place.

        A file that is missing or damaged, as the search beside this one may have it, names no place.
        """
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return cls()
        found = {item.name: about.get(item.name) for item in fields(cls)} if isinstance(about, dict) else {}
        known = cls(**{name: value for name, value in found.items() if isinstance(value, str)})
        now = cls.given().artifacts
        return replace(known, artifacts=now) if now is not None and bare(now) == known.artifacts else known

    def over(self, kept: Places, name: str, begun: bool) -> Places:
        """Put what is given now over what a search was begun with: another place for artifacts, and passwords.

        Raises:
            SpecError: the study is elsewhere: its trials don't move.
        """
        before = bare(kept.study) if kept.study is not None else None
        if begun and self.study is not None and bare(self.study) != before:
            where = f"at {before}" if before else "in its own folder"
            raise SpecError(
                f"--study {bare(self.study)}: search {name!r} keeps its study {where}: "
                "resume it without --study (and AUTOSHRINK_STUDY)"
            )
        study = self.study or kept.study
        unique = kept.study_name or (f"{name}-{secrets.token_hex(4)}" if study is not None else None)
        return Places(self.artifacts or kept.artifacts, study, unique)

    def bare(self) -> dict[str, str]:
        """Give what may be written down."""
        return {item.name: bare(known) for item in fields(self) if (known := getattr(self, item.name)) is not None}


def store_root(url: str | None = None) -> Path:
    """Find the folder that holds all searches: ``--store``, else ``AUTOSHRINK_STORE``, else ``.autoshrink`` here.

    Raises:
        SpecError: the address is not a folder.
    """
    url = url or os.environ.get("AUTOSHRINK_STORE") or DEFAULT_ROOT
    parsed = urlparse(url)
    if parsed.scheme not in ("", "file"):
        raise SpecError(f"--store {url}: only a folder is supported, as a path or a file:// address")
    root = Path(unquote(parsed.path) if parsed.scheme == "file" else url)
    if root.exists() and not root.is_dir():
        raise SpecError(f"--store {url}: is not a folder")
    return root


def bare(address: str) -> str:
    """Give an address without what opens it: passwords, keys and tokens, before the host or after the path."""
    if "://" not in address:
        return address
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    open_user = user.partition(":")[0] if parts.scheme.startswith(("postgres", "ftp", "sftp")) else ""
    settings = [(name, value) for name, value in parse_qsl(parts.query) if not _SECRET.search(name)]
    netloc = f"{open_user}@{host}" if at and open_user else host
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(settings, safe="/:"), ""))


def first_line(error: BaseException) -> str:
    """Say in one line what a library complained about."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
