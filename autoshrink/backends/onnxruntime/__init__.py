"""ONNX Runtime: export, encode, count and run."""

from autoshrink.backends.onnxruntime.backend import OnnxRuntime

__all__ = ["OnnxRuntime"]
