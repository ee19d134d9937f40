"""MLflow's server with the Pareto view in it: what ``mlflow server --app-name autoshrink`` starts.

The view's routes stand ahead of MLflow's, whose Flask application is mounted at the root and catches everything. So
MLflow's pages and its REST interface stay as they are, and its checks of host and origin hold for the view as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoshrink.core import AutoshrinkError, BackendUnavailable, SpecError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from flask import Flask

__all__ = ["check_auth", "create_app", "create_auth_app"]


def create_app() -> FastAPI:
    """Make MLflow's application with the view: the ``autoshrink`` entry point of ``mlflow.app``."""
    from mlflow.server import app as flask_app
    from mlflow.server.fastapi_app import create_fastapi_app

    return _joined(create_fastapi_app(flask_app), flask_app)


def create_auth_app() -> FastAPI:
    """Make MLflow's application with basic authentication and the view: the ``autoshrink-auth`` entry point.

    Raises:
        AutoshrinkError: the server that runs it is not uvicorn, MLflow's default.
    """
    from fastapi import FastAPI
    from mlflow.server import app as flask_app
    from mlflow.server.auth import create_app as create_mlflow_app

    made = create_mlflow_app(flask_app)
    if not isinstance(made, FastAPI):
        raise AutoshrinkError("the Pareto view needs uvicorn: leave --gunicorn-opts and --waitress-opts out")
    return _joined(made, flask_app)


def check_auth() -> None:
    """Make the first administrator of MLflow's basic authentication, as MLflow does before it starts.

    Raises:
        BackendUnavailable: a package is missing.
        SpecError: there is no administrator yet, and no password for one.
    """
    try:
        from mlflow.server.auth import bootstrap_admin_user
    except ImportError as error:
        missing = (
            f"MLflow's basic authentication needs a package: pip install -c constraints.txt -e '.[auth]' ({error})"
        )
        raise BackendUnavailable(missing) from None
    from mlflow.exceptions import MlflowException

    try:
        bootstrap_admin_user()
    except MlflowException as error:
        raise SpecError(f"--basic-auth: {error.message}") from None


def _joined(app: FastAPI, flask_app: Flask) -> FastAPI:
    from starlette.routing import Mount

    from autoshrink.tracking.view.caller import static_prefix
    from autoshrink.tracking.view.routes import view_app

    app.router.routes.insert(0, Mount(f"{static_prefix()}/autoshrink", app=view_app(flask_app)))
    return app
