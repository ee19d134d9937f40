"""What every test needs, and what a partial run is not judged by."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# Set before torch, NumPy or a runtime is imported: tests share two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

# A busy machine is no reason to fail.
settings.register_profile("autoshrink", deadline=None)
settings.load_profile("autoshrink")


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Give the models in a file's tables the same weights in every run, whatever was imported before."""
    if isinstance(collector, pytest.Module):
        torch.manual_seed(0)


def pytest_runtest_setup() -> None:
    """Give each test the same random numbers, run by itself or after others."""
    torch.manual_seed(0)


def pytest_configure(config: pytest.Config) -> None:
    """Hold only a run of everything to the least coverage."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not (
        config.option.keyword or config.option.markexpr
    )
    coverage = config.pluginmanager.get_plugin("_cov")
    if coverage is not None and not whole:
        coverage.options.cov_fail_under = 0
