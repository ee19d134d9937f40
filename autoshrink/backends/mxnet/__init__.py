"""MXNet, retired in 2023: convert, quantize and count in an environment of its own, and run there."""

from autoshrink.backends.mxnet.backend import MxNet

__all__ = ["MxNet"]
