"""A symbol with its parameters: made from a graph, and written as MXNet's own tools read it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from .graph import Graph, Unknown
from .operators import translate

__all__ = ["Model", "build"]


@dataclass
class Model:
    """What MXNet executes."""

    symbol: Any
    parameters: dict[str, Any]
    """Arrays by the names of their variables."""
    inputs: list[str]

    def nodes(self) -> list[dict[str, Any]]:
        """Give the operators and variables as the symbol's file lists them."""
        found: list[dict[str, Any]] = json.loads(self.symbol.tojson())["nodes"]
        return found

    def write(self, folder: Path) -> None:
        """Write ``model-symbol.json`` and ``model-0000.params``, which ``mx.model.load_checkpoint`` reads."""
        content = json.dumps(json.loads(self.symbol.tojson()), separators=(",", ":"))
        (folder / "model-symbol.json").write_text(content)
        mx.nd.save(str(folder / "model-0000.params"), {f"arg:{name}": one for name, one in self.parameters.items()})


def build(graph: Graph, inputs: dict[str, list[int]]) -> Model:
    """Translate a graph.

    Args:
        graph: with as many of the inputs as it needs.
        inputs: the shapes of all inputs by name.

    Raises:
        Unknown: MXNet has no such operator.
    """
    symbols = {name: mx.sym.Variable(name, shape=tuple(shape)) for name, shape in inputs.items()}
    arrays: dict[str, np.ndarray] = {}
    known: dict[str, Any] = {}

    def keep(name: str, values: np.ndarray) -> Any:
        array = np.ascontiguousarray(values, np.float32).reshape(values.shape or (1,))
        kind = name.rpartition("_")[2]
        key = hashlib.sha256(f"{kind} {array.shape}".encode() + array.tobytes()).hexdigest()
        if key not in known:  # weights that are shared, such as an embedding's, are kept once
            arrays[name], known[key] = array, mx.sym.Variable(name, shape=array.shape)
        return known[key]

    for number, proto in enumerate(graph.nodes()):
        node = graph.node(proto, f"{proto.op_type.lower()}{number}", symbols, keep)
        symbols.update(zip(proto.output, translate(node), strict=False))
    if graph.output not in symbols:
        raise Unknown("its answer depends on no input")
    symbol = symbols[graph.output]
    used = set(symbol.list_arguments())
    lost = [name for name in inputs if name not in used]
    if lost:
        symbol = _with_unused(symbol, [symbols[name] for name in lost])
    return Model(symbol, {name: mx.nd.array(array) for name, array in arrays.items() if name in used}, list(inputs))


def _with_unused(symbol: Any, inputs: list[Any]) -> Any:
    """Keep inputs that nothing depends on: all are handed over."""
    return mx.sym.Group([symbol, *(mx.sym.identity(one) for one in inputs)])
