"""TensorRT, NVIDIA's runtime for its GPUs: quantize, check, build an engine and run. Not tried: no GPU was at hand."""

from autoshrink.backends.tensorrt.backend import TensorRt

__all__ = ["TensorRt"]
