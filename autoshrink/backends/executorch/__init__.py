"""ExecuTorch, PyTorch's runtime for phones: lower, quantize, count and run."""

from autoshrink.backends.executorch.backend import ExecuTorch

__all__ = ["ExecuTorch"]
