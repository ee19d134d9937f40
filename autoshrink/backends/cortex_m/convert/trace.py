"""From a torch module to the float network: torch.export gives the graph, a rule each operator."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from autoshrink.backends.cortex_m.convert.builder import Builder, LayoutRefusal, Value
from autoshrink.backends.cortex_m.convert.network import Network
from autoshrink.backends.cortex_m.convert.rules import RULES, Call
from autoshrink.core import Refusal
from autoshrink.models.exporting import export_program
from autoshrink.models.splits import Split

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["trace"]

_Order = tuple[int, ...]
_PREFIX = "model."


def trace(model: nn.Module, example: Split) -> Network:
    """Write a module down as a float network for one example.

    Inputs of three and more dimensions are channels last in the network where its kernels want that, else as they are.

    Args:
        model: in eval mode, on the CPU.
        example: one example.

    Raises:
        Refusal: torch can't follow the model, or an operator has no int8 kernel.
    """
    program = _export(model, example)
    refused: list[LayoutRefusal] = []
    for orders in itertools.product(*(_orders(tensor) for tensor in example.inputs)):
        try:
            return _Walk(program, _named(example, orders)).network()
        except LayoutRefusal as refusal:
            refused.append(refusal)
    raise max(refused, key=lambda refusal: refusal.progress)


def _export(model: nn.Module, example: Split) -> ExportedProgram:
    if len(example) != 1:
        raise ValueError("a model is traced with one example")
    for tensor in example.inputs:
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise Refusal(f"an input of type {kind} can't be quantized to int8: only float inputs can")
    return export_program(model, example)


def _named(example: Split, orders: tuple[_Order, ...]) -> list[tuple[str, _Order]]:
    count = len(orders)
    names = example.names or tuple(f"input_{index}" if count > 1 else "input" for index in range(count))
    return list(zip(names, orders, strict=True))


def _orders(tensor: Tensor) -> tuple[_Order, ...]:
    plain = tuple(range(tensor.dim()))
    return ((0, *plain[2:], 1), plain) if tensor.dim() > 2 else (plain,)


class _Walk:
    """One walk over the exported graph, with a name and an order in memory for each input."""

    def __init__(self, program: ExportedProgram, inputs: list[tuple[str, _Order]]) -> None:
        self._program = program
        self._inputs = iter(inputs)
        self._builder = Builder()
        self._known: dict[fx.Node, Any] = {}

    def network(self) -> Network:
        inputs = {spec.arg.name: spec for spec in self._program.graph_signature.input_specs}
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                self._known[node] = self._placeholder(node, inputs[node.name])
            elif node.op == "call_function":
                self._known[node] = self._call(node)
            elif node.op == "output":
                self._finish(node)
            else:
                raise Refusal(f"control flow in {_where(node)} has no int8 kernel on a microcontroller")
        return self._builder.network

    def _placeholder(self, node: fx.Node, spec: Any) -> Value | Tensor:
        if spec.kind == InputKind.USER_INPUT:
            name, order = next(self._inputs)
            return self._builder.add_input(name, node.meta["val"].shape, order)
        held: Mapping[str, Any] = {**self._program.state_dict, **self._program.constants}
        found = held[spec.target]
        assert isinstance(found, Tensor)
        return found.detach()

    def _call(self, node: fx.Node) -> Any:
        if node.target is operator.getitem:
            items, index = (self._argument(argument) for argument in node.args)
            if isinstance(items, Value):
                return _first(items, index, node)
            return items[index]
        if not isinstance(node.target, torch._ops.OpOverload):
            raise Refusal(f"{node.target} in {_where(node)} has no int8 kernel on a microcontroller")
        name = node.target._opname
        arguments = self._arguments(node, node.target)
        if not any(isinstance(item, Value) for item in _flat(arguments.values())):
            return self._constant(node)
        if name.startswith("_assert"):
            return None
        in_place = name.endswith("_") and not name.startswith("__")
        name = name.rstrip("_") if in_place else name
        if name not in RULES:
            raise Refusal(f"{name} in {_where(node)} has no int8 kernel on a microcontroller")
        self._builder.module = _module(node)[0]
        value = RULES[name](self._builder, Call(name, arguments, _shape(node), _where(node)))
        if in_place and isinstance(node.args[0], fx.Node):
            self._known[node.args[0]] = value
        return value

    def _arguments(self, node: fx.Node, target: torch._ops.OpOverload) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for index, parameter in enumerate(target._schema.arguments):
            if index < len(node.args):
                given[parameter.name] = self._argument(node.args[index])
            elif parameter.name in node.kwargs:
                given[parameter.name] = self._argument(node.kwargs[parameter.name])
            elif parameter.has_default_value():
                given[parameter.name] = parameter.default_value
        return given

    def _argument(self, argument: Any) -> Any:
        return fx.map_arg(argument, lambda node: self._known[node])

    def _constant(self, node: fx.Node) -> Any:
        # What no input reaches is computed now; on copies, since the operator may work in place.
        def copied(item: Any) -> Any:
            return item.clone() if isinstance(item, Tensor) else item

        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda other: copied(self._known[other]))
        assert callable(node.target)
        with torch.no_grad():
            return node.target(*args, **kwargs)

    def _finish(self, node: fx.Node) -> None:
        (results,) = node.args
        assert isinstance(results, tuple | list)
        result = self._argument(results[-1])
        if not isinstance(result, Value):
            raise Refusal("the model's output does not depend on its input")
        if not result.shape or result.view.dims[0]:
            raise Refusal(f"the model gives the shape {result.shape}: the first dimension must count the examples")
        self._builder.set_output(result)


def _first(value: Value, index: int, node: fx.Node) -> Value:
    # Pools give their result and the places of the largest values, which nothing here computes.
    if index and node.users:
        raise Refusal(f"the indices of a pool in {_where(node)} have no int8 kernel on a microcontroller")
    return value


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta["val"]
    value = value[0] if isinstance(value, tuple | list) else value
    return tuple(int(size) for size in value.shape)


def _module(node: fx.Node) -> tuple[str, str]:
    # The path and the class of the innermost module that called the operator.
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path, kind = stack[-1] if stack else ("", "")
    name = kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
    return ("" if path == _PREFIX[:-1] else path.removeprefix(_PREFIX)), name


def _where(node: fx.Node) -> str:
    path, kind = _module(node)
    return f"module {path!r} ({kind})" if path else f"the model ({kind})"


def _flat(items: Any) -> Iterator[Any]:
    for item in items:
        if isinstance(item, tuple | list):
            yield from _flat(item)
        else:
            yield item
