"""LiteRT, TensorFlow Lite's successor: convert, quantize, count and run."""

from autoshrink.backends.litert.backend import LiteRt

__all__ = ["LiteRt"]
