"""Hostile documents and files, made from valid ones: the same seed gives the same case."""

from __future__ import annotations

import copy
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import yaml
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

__all__ = ["mutate_bytes", "mutate_json_lines", "mutate_onnx", "mutate_tflite", "mutate_yaml"]

Random = random.Random
_NUMBERS = (0, 1, -1, 2, 127, 128, 255, 2**15, 2**31 - 1, -(2**31), 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))
_VALUES: tuple[Any, ...] = (
    None, True, False, "", " ", "~", "[red]", "[/]", "{}", "../../etc/passwd", "/dev/zero", "a/b\0c", "\x1b[31mx",
    "a\nb", "\ud7ff\uffff", "é" * 300, "x" * 5000, "8 ms", "1e999 s", "-1 B", "NaN", float("nan"), float("inf"),
    -float("inf"),
    1e308, 10**400, -(10**30), 0.1, [], [[]], {}, [{}], {"low": 1, "high": 2}, {"low": 1e308, "high": -1e308},
    {"low": 0, "high": 10**400}, {"low": 1, "high": 5, "step": 1e-300}, {"low": float("nan"), "high": 1},
    list(range(500)), {"kind": []}, {1: 2}, {None: None}, {(): 1}, {"a.b": {"c[0]": "d"}},
    "ssh://-oProxyCommand=x", "FILE.py:f", "\U0001d518" * 40, *_NUMBERS,
)  # fmt: skip
_SNIPPETS = (
    "\t", "a: &a [x, *a]\n", "? [1, 2]\n: 3\n", "<<: *a\n", "!!python/object/apply:os.system [id]\n", "!!binary x\n",
    "---\n", "...\n", "%YAML 9.9\n", "!!timestamp 9999-99-99\n", "2001-99-99", "0x", "1_000_", "1:60:99", "0b",
    "190:20:30.15e",
    "&a ", "*a ", "- " * 400, "[" * 3000, "{a: " * 2000, "\0", "\ufeff", "\x85", "\u2028", "|\n", ">-9\n", "'",
    '"\\x1b"', '"\\ud800"', "!!set {a, b}\n", "!!omap [a: 1]\n", "!!pairs [a]\n", "!!float x", "!!int ''", "!!null x",
    "!!bool maybe", "=", "<<: [1]\n", "<<: {low: 1}\n",
)  # fmt: skip
_BOMB = (
    "a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
)  # fmt: skip


def mutate_bytes(seed: bytes, rng: Random) -> bytes:
    """Cut off, flip, overwrite, repeat or move parts of a file."""
    content = bytearray(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        if not content:
            break
        at = rng.randrange(len(content))
        match rng.randrange(7):
            case 0:
                del content[at:]
            case 1:
                content[at] ^= 1 << rng.randrange(8)
            case 2:
                content[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 3:
                code = rng.choice("<i <q <H <I".split())
                limit = 1 << (8 * struct.calcsize(code))
                number = rng.choice(_NUMBERS) % limit
                if code in ("<i", "<q") and number >= limit // 2:
                    number -= limit
                packed = struct.pack(code, number)
                content[at : at + len(packed)] = packed
            case 4:
                length = rng.randrange(1, 64)
                content[at:at] = content[at : at + length] * rng.choice((1, 2, 8))
            case 5:
                del content[at : at + rng.randrange(1, 16)]
            case _:
                length, to = rng.randrange(1, 32), rng.randrange(len(content))
                content[to : to + length] = content[at : at + length]
    return bytes(content)


def mutate_yaml(seed: bytes, rng: Random) -> bytes:
    """Put a wrong value at a key, rename, drop, double or nest keys; or put odd YAML somewhere in the text."""
    if rng.random() < 0.4:
        return _odd_text(seed.decode(), rng)
    tree = yaml.safe_load(seed)
    try:
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            tree = _replaced(tree, rng)
        text = yaml.safe_dump(tree, allow_unicode=rng.random() < 0.5, default_flow_style=rng.random() < 0.3)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError):
        return mutate_bytes(seed, rng)
    return text.encode(errors="surrogatepass")


def mutate_json_lines(seed: bytes, rng: Random) -> bytes:
    """Put wrong values into one record of a file of lines, or damage the file."""
    import json

    if rng.random() < 0.3:
        return mutate_bytes(seed, rng)
    lines = seed.splitlines()
    at = rng.randrange(len(lines))
    tree = _replaced(json.loads(lines[at]), rng)
    try:
        lines[at] = json.dumps(tree).encode()
    except (TypeError, ValueError):
        lines[at] = mutate_bytes(lines[at], rng)
    return b"\n".join(lines) + b"\n" * rng.choice((0, 1, 2))


def mutate_onnx(seed: bytes, rng: Random) -> bytes:
    """Set, clear, add or double fields anywhere in a model; or damage its bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(seed, rng)
    model = onnx.ModelProto.FromString(seed)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _change_message(model, rng)
    return model.SerializeToString()


def _odd_text(text: str, rng: Random) -> bytes:
    at = rng.randrange(len(text) + 1)
    match rng.randrange(5):
        case 0:
            text = text[:at] + rng.choice(_SNIPPETS) + text[at:]
        case 1:
            start = text.rfind("\n", 0, at) + 1
            text = text[:start] + rng.choice(_SNIPPETS) + text[start:]
        case 2:
            text = _BOMB + text + f"zz: *{rng.choice('abcdefghi')}\n"
        case 3:
            lines = text.splitlines(keepends=True)
            text = "".join([*lines, rng.choice(lines)])
        case _:
            return mutate_bytes(text.encode(), rng)
    return text.encode(errors="surrogatepass")


def _replaced(tree: Any, rng: Random) -> Any:
    """Change one place of a tree of mappings and lists."""
    if not isinstance(tree, dict | list):
        return rng.choice(_VALUES)
    tree = copy.deepcopy(tree)
    places: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting and len(places) < 2000:
        node = waiting.pop()
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            places.append((node, key))
            if isinstance(value, dict | list):
                waiting.append(value)
    if not places or rng.random() < 0.02:
        return rng.choice(_VALUES)
    node, key = rng.choice(places)
    changes: list[Callable[[], None]] = [
        lambda: node.__setitem__(key, copy.deepcopy(rng.choice(_VALUES))),
        lambda: node.__setitem__(key, copy.deepcopy(rng.choice(_VALUES))),
        lambda: node.__setitem__(key, copy.deepcopy(_value(rng.choice(places)))),
        lambda: node.__setitem__(key, [node[key]] * rng.choice((1, 2, 50))),
        lambda: node.__setitem__(key, {"x": node[key]}),
        lambda: node.__setitem__(key, _deep(rng.choice((30, 300)))),
        lambda: node.__delitem__(key),
    ]
    if isinstance(node, dict):
        changes.append(lambda: node.__setitem__(rng.choice(_keys()), node.pop(key)))
        changes.append(lambda: node.__setitem__(rng.choice(_keys()), copy.deepcopy(rng.choice(_VALUES))))
    rng.choice(changes)()
    return tree


def _value(place: tuple[Any, Any]) -> Any:
    return place[0][place[1]]


def _keys() -> list[Any]:
    return [value for value in _VALUES if isinstance(value, str | int | None) or value is True]


def _deep(levels: int) -> Any:
    tree: Any = "x"
    for level in range(levels):
        tree = [tree] if level % 2 else {"x": tree}
    return tree


def _change_message(message: Message, rng: Random) -> None:
    """Walk down a message at random and change a field where the walk ends."""
    while True:
        field = rng.choice(message.DESCRIPTOR.fields)
        inner = _inner(message, field, rng)
        if inner is None or rng.random() < 0.25:
            break
        message = inner
    if rng.random() < 0.15:
        message.ClearField(field.name)
    elif field.message_type is not None:
        target = getattr(message, field.name)
        if not _many(field):
            target.SetInParent()
        elif target and rng.random() < 0.6:
            target.add().CopyFrom(rng.choice(list(target)))
        else:
            target.add()
    elif _many(field):
        getattr(message, field.name).extend([_scalar(field, rng)] * rng.choice((1, 1, 3, 70)))
        if rng.random() < 0.5 and len(getattr(message, field.name)) > 1:
            getattr(message, field.name)[0] = _scalar(field, rng)
    else:
        setattr(message, field.name, _scalar(field, rng))


def _inner(message: Message, field: FieldDescriptor, rng: Random) -> Message | None:
    if field.message_type is None:
        return None
    value = getattr(message, field.name)
    if _many(field):
        return rng.choice(list(value)) if value else None
    return value if message.HasField(field.name) else None


def _many(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _scalar(field: FieldDescriptor, rng: Random) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        text = rng.choice([value for value in _VALUES if isinstance(value, str)])
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e30))
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice([value.number for value in field.enum_type.values])
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    bits = 64 if kind in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64) else 32
    unsigned = kind in (FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_UINT32)
    low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return rng.choice([number for number in (*_NUMBERS, 3, 4, 5, 9, 30) if low <= number <= high])


def mutate_tflite(seed: bytes, rng: Random) -> bytes:
    """Set a number, a list or a reference anywhere in a model's tables; or damage its bytes."""
    if rng.random() < 0.5:
        return mutate_bytes(seed, rng)
    import flatbuffers

    from autoshrink.backends.cortex_m.write_tflite import schema

    model = schema().ModelT.InitFromPackedBuf(seed)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _change_table(model, rng)
    builder = flatbuffers.Builder(1024)
    try:
        builder.Finish(model.Pack(builder), b"TFL3")
    except (TypeError, ValueError, AttributeError, OverflowError, struct.error):
        return mutate_bytes(seed, rng)  # nobody can write that
    return bytes(builder.Output())


def _change_table(table: Any, rng: Random) -> None:
    """Walk down objects at random and change an attribute where the walk ends."""
    while True:
        if not vars(table):
            return
        name = rng.choice(list(vars(table)))
        value = getattr(table, name)
        items = [item for item in value if hasattr(item, "__dict__")] if isinstance(value, list) else []
        inner = rng.choice(items) if items else value if hasattr(value, "__dict__") else None
        if inner is None or rng.random() < 0.1:
            break
        table = inner
    small = (0, 1, -1, 2, 3, 4, 5, 7, 9, 100, 127, -128, 255, 2**15, 2**31 - 1, -(2**31))
    if isinstance(value, np.ndarray) and value.size:
        changed = value.copy()
        where = rng.randrange(changed.size)
        with np.errstate(all="ignore"):
            odd = rng.choice((0.0, -1.0, 1e-40, 1e38, float("nan"), float("inf"))) if changed.dtype.kind == "f" else 0
            changed[where] = odd if changed.dtype.kind == "f" else np.array(rng.choice(small)).astype(changed.dtype)
        value = rng.choice((changed, changed, changed[:where], np.repeat(changed, 2)))
    elif isinstance(value, list) and value:
        value = rng.choice(
            (value[:-1], value + value[:1], [rng.choice(small), *value[1:]] if not items else value[::-1])
        )
    elif isinstance(value, bool | int):
        value = rng.choice(small)
    elif isinstance(value, float):
        value = rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e38))
    else:
        value = None
    setattr(table, name, value)
