"""The house's manners, for every file of the package and every file that travels with it."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import autoshrink
from autoshrink.core import Space, Target, catalog_folder
from autoshrink.techniques.registry import check_space

PACKAGE = Path(autoshrink.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = [item.name for item in pkgutil.walk_packages([str(PACKAGE)], "autoshrink.") if "__main__" not in item.name]

CATCHES_EVERYTHING = {"search/workers.py", "models/user_code.py"}
"""The worker's edge, where a crash becomes a failed candidate, and the calls of the user's own code."""


def relative(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def ids(files: list[Path]) -> list[str]:
    return [file.relative_to(ROOT).as_posix() for file in files]


@pytest.mark.parametrize("module", MODULES)
def test_public_names_exist_and_say_what_they_are(module):
    loaded = importlib.import_module(module)
    for name in getattr(loaded, "__all__", ()):
        value = getattr(loaded, name)
        if inspect.isfunction(value) or (inspect.isclass(value) and value.__module__.startswith("autoshrink")):
            assert inspect.getdoc(value), f"{module}.{name} has no docstring"


@pytest.mark.parametrize("file", FILES, ids=ids(FILES))
def test_a_file_is_short_and_finished(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300, "a file has one subject: split it"
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", text)


@pytest.mark.parametrize("file", FILES, ids=ids(FILES))
def test_nothing_swallows_everything_but_the_edges(file):
    def wide(handler: ast.ExceptHandler) -> bool:
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        names = {one.id if isinstance(one, ast.Name) else None if one is None else "" for one in caught}
        passed_on = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
        return bool(names & {None, "Exception", "BaseException"}) and not passed_on

    handlers = [node for node in ast.walk(parsed(file)) if isinstance(node, ast.ExceptHandler)]
    lines = [handler.lineno for handler in handlers if wide(handler)]
    assert not lines or relative(file) in CATCHES_EVERYTHING, f"lines {lines}"


SPACES = sorted(catalog_folder("search_spaces").glob("*.yaml"))
EXAMPLES = sorted(catalog_folder("examples").glob("*/target.yaml"))


def test_there_are_spaces_and_examples():
    assert {"cnn", "post_training", "small"} <= {path.stem for path in SPACES}
    assert {"digits", "fashion_mnist"} <= {path.parent.name for path in EXAMPLES}


@pytest.mark.parametrize("path", SPACES, ids=ids(SPACES))
def test_a_space_is_right(path):
    space = Space.read(path)
    check_space(space)
    assert space.name == path.stem or space.name == ""
    assert (
        Space.parse({"steps": [step.model_dump(mode="json") for step in space.steps]}, space.source).steps
        == space.steps
    )


@pytest.mark.parametrize("path", EXAMPLES, ids=ids(EXAMPLES))
def test_an_example_s_target_is_right(path):
    target = Target.read(path)
    assert target.name == path.parent.name
    for function in (target.model, target.data):
        assert target.path(function.partition(":")[0]).is_file()


def test_the_import_rule_holds():
    alone = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
        "--no-cache",
    ]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=alone)
    assert answer.returncode == 0, answer.stdout
