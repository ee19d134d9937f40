"""Microcontrollers: convert, write, compile, emulate and model."""

from autoshrink.backends.cortex_m.backend import CortexM

__all__ = ["CortexM"]
