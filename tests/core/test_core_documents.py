# ruff: noqa: E501  (a row of the table of mistakes stays on one line)
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoshrink.core import Hardware, Source, Space, SpecError, Target, nearest, read_yaml

TARGET = """\
model: model.py:build
data: data.py:splits
accuracy: {floor: 0.97}
hardware: {name: Board, kind: cpu, backend: onnxruntime}
budget: {latency: 40 us}
search:
  candidates: 40
  space:
    steps:
      - kind: low_rank
        rank_ratio: {low: 0.1, high: 0.9}
      - kind: quantization
        scheme: [static, dynamic]
"""


def problems_of(text, tmp_path, kind=Target):
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        kind.read(path)
    assert caught.value.exit_code == 2
    return [line.removeprefix(f"{tmp_path}/") for line in str(caught.value).splitlines()]


# What is written instead of what, and the one line that the user reads.
MISTAKES = [
    ("model: model.py:build", "model: 3", "job.yaml:1: model: must be text, not 3"),
    ("model: model.py:build", "model:", "job.yaml:1: model: must be text, not nothing"),
    ("model: model.py:build", "model: ''", "job.yaml:1: model: must be text that is not empty, not ''"),
    (
        "hardware: {",
        "modell: x\nhardware: {",
        "job.yaml:4: modell: unknown key; did you mean 'model'? "
        "(known: accuracy, budget, data, hardware, metric, model, objectives, search, weights)",
    ),
    (
        "latency: 40 us",
        "latncy: 40 us",
        "job.yaml:5: budget.latncy: unknown key; did you mean 'latency'? (known: energy, latency, memory, size)",
    ),
    (
        "rank_ratio: {low: 0.1",
        "rank_ratio: {lwo: 0.1, low: 0.1",
        "job.yaml:11: search.space.steps[0].rank_ratio.lwo: unknown key; did you mean 'low'? "
        "(known: high, log, low, step); a range is {low, high[, log, step]}",
    ),
    (
        "40 us",
        "40",
        "job.yaml:5: budget.latency: 40 is not a time: write it with its unit, such as '8 ms' "
        "(units: s, ms, us, µs, ns, min, h, d)",
    ),
    ("budget: {latency: 40 us}", "budget: 40 us", "job.yaml:5: budget: must be keys and values, not '40 us'"),
    (
        "{floor: 0.97}",
        "{}",
        "job.yaml:3: accuracy: give either 'floor' (such as 0.97) or 'max_drop' (such as 0.01)",
    ),
    ("{floor: 0.97}", "{floor: high}", "job.yaml:3: accuracy.floor: must be a number, not 'high'"),
    ("{floor: 0.97}", "{floor: .nan}", "job.yaml:3: accuracy.floor: must be a finite number, not nan"),
    ("{floor: 0.97}", "{max_drop: -0.1}", "job.yaml:3: accuracy.max_drop: must be 0 or more, not -0.1"),
    ("kind: cpu", "kind: tpu", "job.yaml:4: hardware.kind: must be 'cpu', 'phone', 'gpu' or 'mcu', not 'tpu'"),
    ("kind: cpu", "kind: cpu, threads: 0", "job.yaml:4: hardware.threads: must be 1 or more, not 0"),
    ("kind: cpu", "kind: cpu, pin: perhaps", "job.yaml:4: hardware.pin: must be true or false, not 'perhaps'"),
    (
        "kind: cpu",
        "kind: cpu, device: moon",
        "job.yaml:4: hardware.device: must be local, emulated, none, ssh://user@host, adb://SERIAL or ray://RESOURCE, not 'moon'",
    ),
    (
        "kind: cpu",
        "kind: cpu, capabilities: {weight_bits: [8, 7]}",
        "job.yaml:4: hardware.capabilities.weight_bits[1]: must be 32, 16, 8 or 4, not 7",
    ),
    (
        "kind: cpu",
        "kind: cpu, energy: {power: 6 W, band: 50 %}",
        "job.yaml:4: hardware.energy.source: this key is missing",
    ),
    (
        "kind: cpu",
        "kind: cpu, energy: {band: 50 %, source: x}",
        "job.yaml:4: hardware.energy: give either 'power' (such as 6 W) or 'per_cycle' (such as 0.37 nJ)",
    ),
    ("candidates: 40", "candidates: many", "job.yaml:7: search.candidates: must be a whole number, not 'many'"),
    ("candidates: 40", "candidates: 1.5", "job.yaml:7: search.candidates: must be a whole number, not 1.5"),
    ("candidates: 40", "seed: -1", "job.yaml:7: search.seed: must be 0 or more, not -1"),
    ("candidates: 40", "seed: 4294967296", "job.yaml:7: search.seed: must be less than 4294967296, not 4294967296"),
    ("candidates: 40", f"candidates: {'9' * 90}", "job.yaml:7: search.candidates: must be 1000000 or less, not " + "9" * 77 + "…"),
    (
        "candidates: 40",
        "sampler: tpee",
        "job.yaml:7: search.sampler: must be 'tpe', 'nsga2', 'gp' or 'random', not 'tpee'",
    ),
    ("low: 0.1", "low: x", "job.yaml:11: search.space.steps[0].rank_ratio.low: must be a number, not 'x'; a range is {low, high[, log, step]}"),
    ("low: 0.1", "low: .inf", "job.yaml:11: search.space.steps[0].rank_ratio.low: must be a finite number, not inf"),
    ("low: 0.1, ", "", "job.yaml:11: search.space.steps[0].rank_ratio.low: this key is missing; a range is {low, high[, log, step]}"),
    ("[static, dynamic]", "[]", "job.yaml:13: search.space.steps[1].scheme: must be a value, a list of values or a range, not an empty list"),
    ("[static, dynamic]", "[[static]]", "job.yaml:13: search.space.steps[1].scheme: must be a value, a list of values or a range, not a list"),
    ("kind: quantization", "kind: low_rank", "job.yaml:12: search.space.steps[1].kind: 'low_rank' stands twice: put its ranges into one step"),
    ("kind: quantization", "knd: quantization", "job.yaml:12: search.space.steps[1].kind: this key is missing"),
    ("search:", "objectives: [accuracy, speed]\nsearch:", "job.yaml:6: objectives[1]: must be 'accuracy', 'latency', 'memory', 'size' or 'energy', not 'speed'"),
    ("search:", "objectives: []\nsearch:", "job.yaml:6: objectives: must be a list of 1 or more, not an empty list"),
    ("search:", "objectives: [size, size]\nsearch:", "job.yaml:6: objectives: names a metric twice"),
    ("search:", "model: other.py:build\nsearch:", "job.yaml:6: model: this key is given twice"),
    ("search:", "3: x\nsearch:", "job.yaml:6: 3: a key must be text: put it in quotes"),
    ("search:", "\tsearch:", "job.yaml:6: not valid YAML: found character '\\t' that cannot start any token"),
    ("search:", "a: [b\nsearch:", "job.yaml:7: not valid YAML: expected ',' or ']', but got ':'"),
    ("search:", "x: !!python/object:os.system\nsearch:", "job.yaml:6: x: has the tag 'tag:yaml.org,2002:python/object:os.system': leave it out"),
    ("search:", "x: !!bool maybe\nsearch:", "job.yaml:6: x: has the tag 'tag:yaml.org,2002:bool': leave it out"),
    ("search:", "x: 2001-01-01\nsearch:", "job.yaml:6: x: '2001-01-01' is no plain value in YAML: put it in quotes"),
    ("search:", "x: &a [1, *a]\nsearch:", "job.yaml:6: x[1]: an alias stands for what it is a part of"),
    ("search:", f"x: {'[' * 30}{']' * 30}\nsearch:", f"job.yaml:6: x{'[0]' * 24}: is nested more than 24 levels deep"),
    ("  space:\n", f"  space: {'é' * 300}\n  x:\n", f"job.yaml:8: search.space: no {'é' * 300!r} in search_spaces/; known: cnn, mcu_int8, post_training, small, or give a path to a .yaml file"),
    ("search:", f"x: {10**400}\nsearch:", "job.yaml:6: x: is too large a number"),
    ("name: Board", 'name: "a\\e[31mb"', "job.yaml:4: hardware.name: holds the control character '\\x1b'"),
    ("name: Board", 'name: "\\ud800"', "job.yaml:4: hardware.name: holds the control character '\\ud800'"),
    ("name: Board", 'name: "a\\nb"', "job.yaml:4: hardware.name: must be one line of printable text, not 'a\\nb'"),
    ("model: model.py:build", 'model: "a\\nb.py:build"', "job.yaml:1: model: must be one line of printable text, not 'a\\nb.py:build'"),
    (TARGET, "", "job.yaml: is empty"),
    (TARGET, "- a\n- b\n", "job.yaml:1: a target is written as keys and values, not as a list"),
    (TARGET, "hello", "job.yaml:1: a target is written as keys and values, not as 'hello'"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line"), MISTAKES)
def test_a_mistake_is_named_with_file_line_and_key(old, new, line, tmp_path):
    assert TARGET.count(old) >= 1
    assert problems_of(TARGET.replace(old, new, 1), tmp_path)[-1:] == [line]


def test_the_sample_that_the_mistakes_are_made_in_is_right(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(TARGET)
    assert Target.read(path).budget.latency == 40e-06


def test_every_mistake_of_a_file_is_named_at_once(tmp_path):
    text = TARGET.replace("40 us", "40").replace("floor: 0.97", "floor: x").replace("candidates: 40", "candidates: 0")
    assert [line.split(": ")[0] for line in problems_of(text, tmp_path)] == ["job.yaml:3", "job.yaml:5", "job.yaml:7"]


@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_bytes(b"\xff\xfe\x00")]
)
def test_a_file_that_cannot_be_read_is_named(make, tmp_path):
    path = tmp_path / "job.yaml"
    make(path)
    with pytest.raises(SpecError, match=r"job\.yaml: (no such file|is a folder|can't be read)"):
        read_yaml(path)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [*x]",
        "a: &x {b: *x}",
        "[" * 3000,
        "\x00",
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True))
        + "model: *k\nsearch: {space: {steps: [{kind: x, y: *k}]}}\n",
    ],
    ids=["loop", "mapping loop", "deep", "control character", "aliases of aliases"],
)
def test_a_hostile_file_is_refused_at_once_and_in_few_words(text, tmp_path):
    assert sum(map(len, problems_of(text, tmp_path))) < 5000


def test_lines_are_known_inside_lists_anchors_and_inline_documents(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("steps:\n  - &first\n    kind: a\n    ratio: 0.5\n  - <<: *first\n    kind: b\n")
    data, source = read_yaml(path)
    assert source.lines["steps", 0, "ratio"] == 4
    assert source.lines["steps", 1, "kind"] == 6
    space = Space.parse(data, source)
    assert space.steps[1].params == {"ratio": 0.5}
    inner = source.under(("steps", 1))
    assert str(inner.error(("kind",), "wrong")) == f"{path}:6: steps[1].kind: wrong"
    assert str(inner.error(("nowhere", "deep"), "wrong")) == f"{path}:5: steps[1].nowhere.deep: wrong"


def test_a_document_made_in_python_has_a_source_too():
    hardware = Hardware(name="x", kind="cpu", backend="onnxruntime")
    assert str(hardware.source.error(("name",), "wrong")) == "<python>: name: wrong"


def test_documents_are_equal_by_content_whatever_their_source():
    one, other = (Space.parse({"steps": [{"kind": "a"}]}, Source(name)) for name in ("x.yaml", "y.yaml"))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Space.parse({"steps": [{"kind": "b"}]}, Source("x.yaml"))
    assert one != 3


def test_documents_are_frozen():
    space = Space.parse({"steps": [{"kind": "a"}]}, Source("x.yaml"))
    with pytest.raises(ValueError, match="frozen"):
        space.name = "other"


@pytest.mark.parametrize(
    ("word", "known", "said"),
    [
        ("latncy", ["size", "latency"], "did you mean 'latency'? (known: latency, size)"),
        ("zzz", ["size", "latency"], "known: latency, size"),
        ("zzz", [], "known: none"),
    ],
)
def test_the_nearest_known_word_is_named_first(word, known, said):
    assert nearest(word, known) == said


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "steps", "name", "low", "high", "search", "space", "hardware", "budget"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(plain, st.sampled_from([Target, Space, Hardware]))
def test_any_data_is_a_document_or_a_spec_error(data, kind):
    said = ""
    try:
        kind.parse(data, Source("job.yaml", folder=Path("/nowhere")))
    except SpecError as error:
        said = str(error)
    assert all(line.startswith("job.yaml") for line in said.split("\n") if said)


BILLION = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGED = "a: &a {x: 1}\n" + "".join(
    f"{after}: &{after} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize("bomb", [BILLION, MERGED], ids=["billion laughs", "merged keys"])
def test_aliases_that_stand_for_too_much_are_refused(bomb, tmp_path):
    [problem] = problems_of(f"{TARGET}{bomb}", tmp_path)
    assert problem.endswith("its aliases stand for too much")


def test_a_few_aliases_and_a_merged_key_are_welcome(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: [*a, *a]\n")
    assert read_yaml(path)[0] == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": [{"x": 1}, {"x": 1}]}


def test_a_file_that_is_no_file_of_a_user_s_is_not_read_to_its_end(tmp_path):
    [problem] = problems_of("# " + "x" * 70_000, tmp_path)
    assert problem == "job.yaml: is larger than the 64 KiB that a file of this kind may have"
    with pytest.raises(SpecError, match="is larger than"):
        Target.read(Path("/dev/zero"))


def test_thousands_of_mistakes_are_summed_up(tmp_path):
    found = problems_of(TARGET + "".join(f"key{number}: 1\n" for number in range(3000)), tmp_path)
    assert len(found) == 21
    assert found[-1] == "job.yaml: and 2980 more mistakes"
