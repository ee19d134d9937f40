import itertools

import pytest
import yaml

from autoshrink.core import Hardware, Source, Space, SpecError, Target, catalog_folder, find_document, names

BOARD = {"name": "Board", "kind": "mcu", "backend": "onnxruntime", "limits": {"size": "2 MiB", "memory": "640 KiB"}}
SPACE = {"steps": [{"kind": "low_rank", "rank_ratio": {"low": 0.1, "high": 0.9}}]}


def target(**changes):
    data = {
        "model": "model.py:build",
        "data": "data.py:splits",
        "accuracy": {"floor": 0.97},
        "hardware": BOARD,
        "search": {"space": SPACE},
        **changes,
    }
    return Target.parse(data, Source("/jobs/target.yaml"))


def test_hardware_and_space_are_written_inline():
    read = target()
    assert read.hardware == Hardware.parse(BOARD, Source("x"))
    assert read.search.space == Space.parse(SPACE, Source("x"))
    assert read.hardware.limits.size == 2 * 1024**2


def test_hardware_and_space_are_found_by_path_from_the_target(tmp_path, monkeypatch):
    (tmp_path / "job").mkdir()
    (tmp_path / "board.yaml").write_text("{name: Board, kind: mcu, backend: onnxruntime}")
    (tmp_path / "job" / "mine.yaml").write_text("steps: [{kind: low_rank}]")
    path = tmp_path / "job" / "target.yaml"
    path.write_text(
        "model: nets/model.py:build\ndata: d.py:f\naccuracy: {max_drop: 0.01}\n"
        "hardware: ../board.yaml\nsearch: {space: mine.yaml}\n"
    )
    monkeypatch.chdir("/")
    read = Target.read(path)
    assert read.hardware.name == "Board"
    assert read.search.space.kinds() == ["low_rank"]
    assert read.name == "job"
    assert read.path("nets/model.py") == (tmp_path / "job" / "nets" / "model.py").resolve()


@pytest.mark.parametrize(
    ("hardware", "says"),
    [
        ("nowhere", "/jobs/target.yaml: hardware: no 'nowhere' in targets/; "),
        ("./nowhere.yaml", "/jobs/target.yaml: hardware: no file './nowhere.yaml' (looked for "),
        (3, "/jobs/target.yaml: hardware: write a name, a path or an inline document, not 3"),
        (None, "/jobs/target.yaml: hardware: write a name, a path or an inline document, not nothing"),
        (
            {**BOARD, "kind": "tpu"},
            "/jobs/target.yaml: hardware.kind: must be 'cpu', 'phone', 'gpu' or 'mcu', not 'tpu'",
        ),
    ],
)
def test_hardware_that_is_not_there_is_named(hardware, says):
    with pytest.raises(SpecError) as caught:
        target(hardware=hardware)
    assert str(caught.value).startswith(says)


def test_an_error_in_a_named_file_names_that_file(tmp_path):
    (tmp_path / "board.yaml").write_text("name: Board\nkind: cpu\nbakend: onnxruntime\n")
    (tmp_path / "job.yaml").write_text(
        "model: m.py:f\ndata: d.py:f\naccuracy: {floor: 0.9}\nhardware: board.yaml\n"
        "search: {space: {steps: [{kind: a}]}}\n"
    )
    with pytest.raises(SpecError, match=r"board\.yaml:3: bakend: unknown key; did you mean 'backend'"):
        Target.read(tmp_path / "job.yaml")


@pytest.mark.parametrize(
    ("changes", "metrics", "costs"),
    [
        ({}, ("accuracy", "latency", "size"), ("latency", "size")),
        ({"budget": {"size": "1 MB"}}, ("accuracy", "size"), ("size",)),
        ({"budget": {"size": "1 MB", "latency": "8 ms"}}, ("accuracy", "latency", "size"), ("latency", "size")),
        ({"objectives": ["latency"]}, ("latency",), ("latency",)),
        ({"objectives": ["accuracy"], "budget": {"memory": "1 kB"}}, ("accuracy",), ("memory",)),
    ],
)
def test_objectives_are_those_declared_else_accuracy_and_what_is_budgeted(changes, metrics, costs):
    read = target(**changes)
    assert read.metrics == metrics
    assert read.costs == costs


def test_a_drop_is_counted_from_the_original():
    assert target(accuracy={"max_drop": 0.01}).accuracy.floor_for(0.95) == pytest.approx(0.94)
    assert target(accuracy={"floor": 0.9}).accuracy.floor_for(0.95) == 0.9
    assert target(accuracy={"max_drop": 0}).accuracy.floor_for(0.95) == 0.95


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"budget": {"size": "3 MiB"}}, "budget.size: 3.15 MB is above the 2.10 MB that 'Board' has"),
        ({"budget": {"energy": "1 mJ"}}, "budget.energy: the hardware 'Board' has no energy constants"),
        ({"objectives": ["energy"]}, "objectives: the hardware 'Board' has no energy constants"),
        ({"accuracy": {"floor": 0.9, "max_drop": 0.1}}, "accuracy: give either 'floor'"),
        ({"search": {"space": SPACE, "time": "2"}}, "search.time: '2' has no unit: write it with its unit"),
    ],
)
def test_what_cannot_be_is_refused(changes, says):
    with pytest.raises(SpecError) as caught:
        target(**changes)
    assert str(caught.value).startswith(f"/jobs/target.yaml: {says}")


def test_an_energy_budget_needs_only_the_profile_s_constants():
    board = {**BOARD, "energy": {"per_cycle": "0.37 nJ", "band": "15 %", "source": "datasheet"}}
    read = target(hardware=board, budget={"energy": "5 uJ"})
    assert read.metrics == ("accuracy", "energy")
    assert read.hardware.energy.per_cycle == pytest.approx(0.37e-9)


@pytest.mark.parametrize(("file", "name"), [("/jobs/digits/target.yaml", "digits"), ("/jobs/mine.yaml", "mine")])
def test_a_target_is_named_by_its_file_or_its_folder(file, name, tmp_path):
    path = tmp_path / file.removeprefix("/")
    path.parent.mkdir(parents=True)
    path.write_text(target().to_yaml())
    assert Target.read(path).name == name


def test_a_target_is_written_and_read_back():
    choices = [
        {"budget": {"latency": "40 us", "size": "0.1 MB"}, "objectives": ["size"]},
        {"accuracy": {"max_drop": 0.0}, "weights": "w.safetensors"},
        {"search": {"space": SPACE, "time": "2 min", "sampler": "gp", "candidates": 7}},
        {},
    ]
    for one, other in itertools.product(choices, choices):
        read = target(**{**one, **other})
        assert Target.parse(yaml.safe_load(read.to_yaml()), read.source) == read


def test_the_schema_says_what_an_editor_needs():
    schema = Target.model_json_schema()
    assert set(schema["required"]) == {"model", "data", "accuracy", "hardware", "search"}
    assert schema["additionalProperties"] is False
    budget = schema["$defs"]["Budget"]["properties"]["latency"]
    assert "ms" in str(budget)


def test_the_catalog_is_found_from_anywhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for kind in ("targets", "search_spaces", "examples"):
        assert catalog_folder(kind).is_dir()
    for kind in ("targets", "search_spaces"):
        for name in names(kind):
            assert find_document(name, kind, Source("x"), ()).is_file()
