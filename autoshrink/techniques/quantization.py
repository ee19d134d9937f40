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
    from torch import Tensor, nn

    from autoshrink.models.recovery import Recovery

__all__ = ["Quantization"]

_LEARNED = "learned_input_range"
_KEPT = "kept_in_more_bits"
_OFF = "off"
_FORMAT = ("weight_bits", "scheme")
_ALL = frozenset({"scheme", "calibration", "granularity", "block_size", "sensitive_share", "qat_epochs"})
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

    With a sensitive share the layers that bear rounding worst are stored in more bits. Which these are is measured on
    the compressed model itself, whose layers are not the original's any more: two forward passes of calibration
    examples for each layer. A space draws it beside 4 bits only: rounding to 8 bits costs next to nothing.

    References:
        Wang et al. 2019, "HAQ: Hardware-Aware Automated Quantization with Mixed Precision" (bits by layer);
        Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference"; Bengio et al. 2013, "Estimating or Propagating Gradients Through Stochastic Neurons".
    """

    kind: ClassVar[str] = "quantization"
    stage: ClassVar[Stage] = Stage.ENCODING
    epochs_of: ClassVar[str] = "qat_epochs"

    weight_bits: Bits = 8
    scheme: Literal["static", "dynamic", "weight_only"] = "static"
    calibration: Calibration = "minmax"
    """How static ranges are found: extremes, extremes without the outermost values, or least divergence."""
    granularity: Granularity = "per_channel"
    """What shares a scale in 8 bits: the weights of one output channel, or all weights of a layer."""
    block_size: Annotated[int, Field(ge=8, le=1024)] = 32
    """What shares a scale in 4 bits: so many weights at most."""
    sensitive_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Most of the weights, as a share of all, that stay one step higher: in 8 bits beside 4, as floats beside 8."""
    qat_epochs: Annotated[int, Field(ge=0, le=1000)] = 0
    """Length of the quantization-aware training of a static scheme, in a recipe with a recovery step; 0 is none."""

    def idle(self, *, recovered: bool) -> frozenset[str]:
        """Each scheme has settings of its own; none is trained without a recovery step."""
        needed = _needed(self._scheme, self.weight_bits)
        if not recovered:
            needed -= {"qat_epochs"}
        if not self.sensitive_share:
            needed -= {"sensitive_share"}
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
        if bits != 4 or accepts(Encoding(scheme=scheme, weight_bits=bits, kept=("layer",))):
            needed -= {"sensitive_share"}
        executed = tuple(
            method
            for method in step.values("calibration")
            if not accepts(Encoding.model_validate({"scheme": scheme, "weight_bits": bits, "calibration": method}))
        )
        among = {"calibration": executed} if executed else {}
        rest = draw_params(step, choose, (*_FORMAT, *(_ALL - needed)), among)
        fixed = {"weight_bits": bits} if scheme == "float" else {"weight_bits": bits, "scheme": scheme}
        return Setting.model_validate({"kind": step.kind, **fixed, **rest})

    def label(self) -> str:
        """Say what it does, and how much of it."""
        return f"{self._plain().describe()}{' QAT' if self.qat_epochs else ''}"

    def apply(self, model: nn.Module, context: Context) -> nn.Module:
        """Choose the layers that stay in more bits, and train with rounded weights and activations, where asked for.

        Raises:
            Refusal: there is no training data, or nothing that the training could round.
        """
        kept = self._sensitive(model, context)
        if self._scheme == "static" and self.qat_epochs and context.recovery is not None:
            model = self._trained(model, context, context.recovery, kept)
        for name in kept:
            setattr(model.get_submodule(name), _KEPT, True)
        return model

    def _sensitive(self, model: nn.Module, context: Context) -> tuple[str, ...]:
        if self._scheme == "float" or not self.sensitive_share:
            return ()
        from autoshrink.techniques._torch.precision import sensitive_layers
        from autoshrink.techniques._torch.rounding import rounded

        block_size = self.block_size if self.weight_bits == 4 and self.scheme == "weight_only" else None
        inputs = self.weight_bits == 8 and self.scheme != "weight_only"  # beside 4 bits they are rounded all the same

        def rounding(weight: Tensor) -> Tensor:
            return rounded(weight, self.weight_bits, block_size)

        return sensitive_layers(model, context.workload, self.sensitive_share, rounding, inputs=inputs)

    def _trained(self, model: nn.Module, context: Context, recovery: Recovery, kept: tuple[str, ...]) -> nn.Module:
        from autoshrink.models.recovery import recover
        from autoshrink.techniques._torch.fake_quantization import fold_norms, has_codebooks, observed, round_weights

        model = fold_norms(model, context.workload.example)
        per_channel = self.granularity == "per_channel" and not has_codebooks(model)
        in_float = kept if self.weight_bits == 8 else ()
        with observed(model, context.workload.calibration, without=in_float) as ranges:
            if not ranges or not round_weights(model, per_channel, self.weight_bits, kept):
                raise Refusal("quantization-aware training finds no convolution and no linear layer")
            rate = recovery.learning_rate * _GENTLE
            gentle = replace(recovery, epochs=self.qat_epochs, learning_rate=rate)
            recover(model, context.workload, gentle, context.seed)
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
                "kept": tuple(name for name, module in model.named_modules() if getattr(module, _KEPT, False)),
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
    return frozenset({"scheme", "sensitive_share", *scale, *only_static})
