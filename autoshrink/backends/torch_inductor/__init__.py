"""TorchInductor's ahead-of-time compiler: encode, compile, count and run, on processors and GPUs."""

from autoshrink.backends.torch_inductor.backend import TorchInductor

__all__ = ["TorchInductor"]
