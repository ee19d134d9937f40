"""An over-sized convolutional network for 8×8 digits: far more channels than the task needs."""

from __future__ import annotations

from torch import nn

CHANNELS = (64, 128, 128)


def build() -> nn.Module:
    """Build the model: images (examples, 1, 8, 8) to logits (examples, 10)."""
    first, second, third = CHANNELS
    return nn.Sequential(
        *_stage(1, first),
        *_stage(first, second),
        nn.MaxPool2d(2),
        *_stage(second, third),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(third * 4, 196),
        nn.ReLU(),
        nn.Linear(196, 10),
    )


def _stage(channels_in: int, channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels_in, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
