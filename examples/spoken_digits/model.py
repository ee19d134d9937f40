"""A depthwise separable convolutional network (DS-CNN) for keyword spotting, as in MLPerf Tiny."""

from __future__ import annotations

from torch import nn

CHANNELS, BLOCKS = 64, 4


def build() -> nn.Module:
    """Build the model: cepstral coefficients (examples, 1, 32, 13) to logits (examples, 10).

    References:
        Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers", 2017.
    """
    layers = [*_stage(nn.Conv2d(1, CHANNELS, (10, 4), stride=2, padding=(4, 1), bias=False))]
    for _ in range(BLOCKS):
        layers += _stage(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS, bias=False))
        layers += _stage(nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, 10))


def _stage(convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()
