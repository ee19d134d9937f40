"""The command that starts MLflow with the Pareto view."""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from autoshrink.console.printing import plain_console
from autoshrink.core import SpecError

__all__ = ["ui"]

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def ui(store: str | None, host: str, port: int, *, artifacts: str | None, basic_auth: bool, workers: int) -> int:
    """Run ``mlflow server`` with the project's application, until it is ended.

    Args:
        store: MLflow's database.
        host: the address to listen at.
        port: the port to listen at.
        artifacts: where the server keeps the artifacts that clients send it.
        basic_auth: ask for a name and a password.
        workers: processes.

    Returns:
        The server's exit code.

    Raises:
        SpecError: the store is no database, the port is taken, or the first administrator has no password.
        BackendUnavailable: a package is missing.
    """
    url = _store(store)
    _check_port(host, port)
    alone = dict(os.environ)
    alone.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    alone.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # seven more processes, which nothing here needs
    if basic_auth:
        from autoshrink.tracking.view.app import check_auth

        check_auth()
        alone.setdefault("MLFLOW_FLASK_SERVER_SECRET_KEY", secrets.token_hex(32))
    app = "autoshrink-auth" if basic_auth else "autoshrink"
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", app]
    command += ["--host", host, "--port", str(port), "--workers", str(workers), "--backend-store-uri", url]
    command += ["--artifacts-destination", artifacts] if artifacts else []
    console = plain_console()
    shown = "localhost" if host in ("0.0.0.0", "::") else host
    console.print(f"Pareto view: http://{shown}:{port}/autoshrink/", highlight=False, soft_wrap=True)
    about = f"MLflow itself: http://{shown}:{port}/, on {_without_password(url)}"
    console.print(about, highlight=False, soft_wrap=True)
    with subprocess.Popen(command, env=alone) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:  # Ctrl-C reaches the server as well
            server.wait()
            return 0


def _store(given: str | None) -> str:
    url = given or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    named = "--store" if given else "MLFLOW_TRACKING_URI"
    if url.startswith(("http://", "https://")):
        raise SpecError(
            f"{named} {url}: is a server already; start that one with 'mlflow server --app-name autoshrink', and its "
            f"Pareto view is {url.rstrip('/')}/autoshrink/"
        )
    if not re.match(rf"({'|'.join(_DATABASES)})(\+\w+)?://", url):
        raise SpecError(f"{named} {url}: is no database of MLflow's; write sqlite:///mlflow.db or postgresql://…")
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        raise SpecError(
            f"no {url.removeprefix('sqlite:///')} here: run a search first, or name MLflow's database: --store"
        )
    return url


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SpecError(
                f"--host {host} --port {port}: can't listen there ({error.strerror}); name another"
            ) from None


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":…@")))
