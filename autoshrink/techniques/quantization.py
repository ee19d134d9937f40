"""Quantization: weights, and activations with them, in fewer bits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from autoshrink.core import Chooser, Encoding, Refusal, Setting, Step
from autoshrink.core.encoding import Calibration, Granularity
from autoshrink.core.hardware import Bits, Scheme
from autoshrink.techniques.base import Accepts, Context, Stage, Technique, draw_params

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Quantization"]

_LEARNED = "learned_input_range"
_OFF = "off"
_FORMAT = ("weight_bits", "scheme")
_ALL = frozenset({"scheme", "calibration", "granularity", "block_size", "qat_epochs"})
_GENTLE = 0.2
"""The share of the recovery's learning rate that rounded weights are trained with: they are nearly right already."""


class Quantization(Technique):
    """Asks the backend for fewer bits, and may train the model for it.

    32 bits leave the model as it is and 16 are half floats. With 8 or 4 bits the scheme says how they are used:
    ``static`` computes in int8 with ranges known beforehand, ``dynamic`` finds the ranges while running, and
    ``weight_only`` stores integers and computes in float.

    Quantization-aware training folds batch norms, rounds weights and the inputs of layers as the artifact will, and
    fine-tunes with the recovery's settings at a fifth of its learning rate; gradients pass the rounding unchanged. The
    ranges that it learned replace calibration. With weight sharing and 8 bits, the granularity is per tensor whatever
    was asked for: under a scale for each channel a codebook's values would become different integers in each.

    References:
        Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference"; Bengio et al. 2013, "Estimating or Propagating Gradients Through Stochastic Neurons".
    """

    kind: ClassVar[str] = "quantization"
    stage: ClassVar[Stage] = Stage.ENCODING

    weight_bits: Bits = 8
    scheme: Literal["static", "dynamic", "weight_only"] = "static"
    calibration: Calibration = "minmax"
    """How static ranges are found: extremes, extremes without the outermost values, or least divergence."""
    granularity: Granularity = "per_channel"
    """What shares a scale in 8 bits: the weights of one output channel, or all weights of a layer."""
    block_size: Annotated[int, Field(ge=8, le=1024)] = 32
    """What shares a scale in 4 bits: so many weights at most."""
    qat_epochs: Annotated[int, Field(ge=0, le=1000)] = 0
    """Length of the quantization-aware training of a static scheme, in a recipe with a recovery step; 0 is none."""

    def idle(self, *, recovered: bool) -> frozenset[str]:
        """Each scheme has settings of its own; none is trained without a recovery step."""
        needed = _needed(self._scheme, self.weight_bits)
        if not recovered:
            needed -= {"qat_epochs"}
        return _ALL - needed

    @classmethod
    def draw(cls, step: Step, choose: Chooser, accepts: Accepts) -> Setting | None:
        """Draw bits and scheme as one choice among those that backend and device execute, then what matters to it."""
        formats: dict[str, tuple[Scheme, Bits]] = {_OFF: ("float", 32)} if step.optional else {}
        bits_known = step.values("weight_bits") or (cls.model_fields["weight_bits"].default,)
        schemes_known = step.values("scheme") or (cls.model_fields["scheme"].default,)
        for bits in bits_known:
            for scheme in schemes_known:
                encoding = cls.model_validate({"weight_bits": bits, "scheme": scheme})._plain()
                if not accepts(encoding):
                    formats.setdefault(encoding.describe(), (encoding.scheme, encoding.weight_bits))
        if not formats:
            return None
        names = tuple(formats)
        picked = choose.choice(f"{step.kind}.format", names) if len(names) > 1 else names[0]
        scheme, bits = formats[str(picked)]
        if bits == 32:
            return None
        needed = _needed(scheme, bits)
        rest = draw_params(step, choose, without=(*_FORMAT, *(_ALL - needed)))
        fixed = {"weight_bits": bits} if scheme == "float" else {"weight_bits": bits, "scheme": scheme}
        return Setting.model_validate({"kind": step.kind, **fixed, **rest})

    def label(self) -> str:
        """Say what it does, and how much of it."""
        return f"{self._plain().describe()}{' QAT' if self.qat_epochs else ''}"

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Train the model with rounded weights and activations, where that is asked for.

        Raises:
            Refusal: there is no training data, or nothing that the training could round.
        """
        if self._scheme != "static" or not self.qat_epochs or context.recovery is None:
            return model
        from autoshrink.models.recovery import recover
        from autoshrink.techniques._torch.fake_quantization import fold_norms, has_codebooks, observed, round_weights

        model = fold_norms(model, context.workload.example)
        per_channel = self.granularity == "per_channel" and not has_codebooks(model)
        with observed(model, context.workload.calibration) as ranges:
            if not ranges or not round_weights(model, per_channel, self.weight_bits):
                raise Refusal("quantization-aware training finds no convolution and no linear layer")
            rate = context.recovery.learning_rate * _GENTLE
            recovery = replace(context.recovery, epochs=self.qat_epochs, learning_rate=rate)
            recover(model, context.workload, recovery, context.seed)
        for name, item in ranges.items():
            setattr(model.get_submodule(name), _LEARNED, item.span)
        return model

    def encode(self, encoding: Encoding, model: nn.Module) -> Encoding:
        """Ask for the number formats, and hand over the ranges that training learned."""
        learned = {name: getattr(module, _LEARNED, None) for name, module in model.named_modules()}
        shared = encoding.codebook is not None and self.weight_bits == 8
        return encoding.model_copy(
            update={
                **self._plain().model_dump(include=set(_FORMAT)),
                "calibration": self.calibration,
                "granularity": "per_tensor" if shared else self.granularity,
                "block_size": self.block_size,
                "ranges": {name: span for name, span in learned.items() if span is not None},
            }
        )

    @property
    def _scheme(self) -> Scheme:
        return "float" if self.weight_bits >= 16 else self.scheme

    def _plain(self) -> Encoding:
        return Encoding(scheme=self._scheme, weight_bits=self.weight_bits)


def _needed(scheme: Scheme, bits: Bits) -> frozenset[str]:
    """Name the settings that matter to a number format, beside its bits."""
    if scheme == "float":
        return frozenset()
    scale = {"granularity"} if bits == 8 else {"block_size"}
    only_static = {"calibration", "qat_epochs"} if scheme == "static" else set()
    return frozenset({"scheme", *scale, *only_static})
