"""From a graph to a torch module: each operator by its rule, in the file's order."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Sequence

from torch import Tensor, fx
from torch.fx.graph import PythonCode

from autoshrink.models.from_onnx import elementwise, layers, shapes
from autoshrink.models.from_onnx.building import Builder, Value
from autoshrink.models.from_onnx.reading import Graph, Node, NotTranslatedError

__all__ = ["OnnxModel", "argument_names", "translate"]

_RULES: dict[str, Callable[[Builder, Node], Value | tuple[Value, ...]]] = {
    **layers.RULES,
    **elementwise.RULES,
    **shapes.RULES,
}
_QUANTIZED = re.compile(r"QuantizeLinear|^QLinear|Integer$|^QGemm|^com\.microsoft::(Q|DynamicQuant)")
_SHOWN = 5


class OnnxModel(fx.GraphModule):
    """A module that says nothing on the terminal when it fails: that its widths don't fit is an answer to a try."""

    def recompile(self) -> PythonCode:
        """Make the code anew, without the wrapper that prints."""
        code = super().recompile()
        own = type(self)  # torch makes a class for every instance
        if "__call__" in vars(own):
            del own.__call__
        return code


def argument_names(graph: Graph) -> tuple[str, ...]:
    """Name the module's arguments as the file's inputs, as far as Python lets it."""
    names: list[str] = []
    for item in graph.inputs:
        name = re.sub(r"\W", "_", item.name, flags=re.ASCII)
        name = name if name.isidentifier() and not keyword.iskeyword(name) and name != "self" else f"input_{name}"
        while name in names:
            name += "_"
        names.append(name)
    return tuple(names)


def translate(graph: Graph, samples: Sequence[tuple[Tensor, ...]]) -> OnnxModel:
    """Build the module of a graph; it gives the graph's first output.

    Args:
        graph: the file's.
        samples: for each input, what it is in each of the two `BATCHES`.

    Raises:
        NotTranslatedError: an operator, or a way to use it, is not known.
    """
    _check_operators(graph)
    build = Builder(graph)
    for item, name, both in zip(graph.inputs, argument_names(graph), samples, strict=True):
        build.input(item.name, name, both)
    for node in graph.nodes:
        if id(node) not in build.skipped:
            _apply(build, node)
    result = build.values.get(graph.outputs[0])
    if result is None or result.node is None:
        raise NotTranslatedError(f"its output {graph.outputs[0]!r} does not follow from its inputs")
    build.fx.output(result.node)
    module = OnnxModel(build.root, build.fx)
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.delete_all_unused_submodules()
    module.recompile()
    return module.eval()


def _check_operators(graph: Graph) -> None:
    ops = dict.fromkeys(node.op for node in graph.nodes)
    if any(_QUANTIZED.search(op) for op in ops):
        raise NotTranslatedError("it is quantized already: give the float model that it was made of")
    unknown = sorted(op for op in ops if op not in _RULES)
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise NotTranslatedError(f"it has operators that have no rule: {', '.join(unknown[:_SHOWN])}{more}")


def _apply(build: Builder, node: Node) -> None:
    if not any(build.graph.uses[name] for name in node.outputs):
        return
    given = _RULES[node.op](build, node)
    values = given if isinstance(given, tuple) else (given,)
    for name, value in zip(node.outputs, values, strict=False):
        build.values[name] = value
