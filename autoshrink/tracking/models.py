"""An artifact of the front as an MLflow model that `mlflow.onnx.load_model` and `mlflow.pyfunc` load and run."""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoshrink.core import Candidate, Hardware
from autoshrink.tracking.cursor import Entry
from autoshrink.tracking.layers import LAYERS, layers_of
from autoshrink.tracking.ledger import Ledger
from autoshrink.tracking.points import MODEL

if TYPE_CHECKING:
    import numpy as np

    Example = Mapping[str, np.ndarray]

__all__ = ["put_artifact"]


def put_artifact(
    ledger: Ledger, candidate: Candidate, folder: Path, hardware: Hardware, example: Example | None = None
) -> str:
    """Make MLflow hold a candidate's files: an ONNX file as a model, any other as the run's artifacts.

    MLflow's own `log_model` takes 0.1 to 2.6 s a model, because it guesses the requirements and starts a server on
    the example, and it writes other bytes than those that were measured; this takes 0.05 s.

    Args:
        ledger: holds the candidate's run already.
        candidate: with an artifact.
        folder: the artifact's files.
        hardware: what the model was measured on: threads and providers of the serving session.
        example: inputs by name; zeros when it is None.

    Returns:
        The address that MLflow loads it from.
    """
    entry = ledger.cursor.entry(candidate.id)
    assert entry.run is not None
    assert candidate.artifact is not None
    first = folder / candidate.artifact.files[0]
    if entry.model is None:
        if first.suffix == ".onnx":
            entry.model = _put_model(ledger, entry.run, candidate, folder, hardware, example)
        else:
            ledger.client.log_artifacts(entry.run, str(folder), "artifact")
            entry.model = ""
        ledger.client.log_dict(entry.run, layers_of(candidate.artifact, folder), LAYERS)
        ledger.client.set_tag(entry.run, MODEL, _address(entry))
        ledger.cursor.note(candidate.id)
    return _address(entry)


def _address(entry: Entry) -> str:
    return f"models:/{entry.model}" if entry.model else f"runs:/{entry.run}/artifact"


def _put_model(
    ledger: Ledger, run: str, candidate: Candidate, folder: Path, hardware: Hardware, example: Example | None
) -> str:
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric

    client, experiment = ledger.client, ledger.experiment
    earlier = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run}'", max_results=1)
    model = earlier[0] if earlier else client.create_logged_model(
        experiment, name=f"candidate-{candidate.id}", source_run_id=run, tags={"autoshrink.key": candidate.key}
    )  # fmt: skip
    if model.status != LoggedModelStatus.READY:
        with tempfile.TemporaryDirectory() as place:
            made = Path(place) / "model"
            _write(made, model, run, candidate, folder, hardware, example)
            client.log_model_artifacts(model.model_id, str(made))
        linked = client.get_run(run).outputs
        if not linked or model.model_id not in {output.model_id for output in linked.model_outputs}:
            client.log_outputs(run, [LoggedModelOutput(model.model_id, step=0)])
        at = ledger.cursor.entry(candidate.id).at
        figures = {name: metric.value for name, metric in candidate.metrics.items()}
        figures |= {f"accuracy.{k}": v for k, v in candidate.accuracy.model_dump(exclude_none=True).items()}
        client.log_batch(run, [Metric(key, x, at, 0, model_id=model.model_id) for key, x in figures.items()])
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    return str(model.model_id)


def _write(
    place: Path, model: Any, run: str, candidate: Candidate, folder: Path, hardware: Hardware, example: Example | None
) -> None:
    import mlflow
    from mlflow.models import Model

    from autoshrink.models.onnx.check import load_model

    assert candidate.artifact is not None
    files = [folder / name for name in candidate.artifact.files]
    graph = load_model(files[0])
    signature = _signature(graph)
    mlflow.onnx.save_model(
        graph,
        place,
        mlflow_model=Model(
            artifact_path=model.artifact_location, model_uuid=model.model_id, run_id=run, model_id=model.model_id
        ),
        signature=signature,
        input_example=_example(signature, example),
        pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in ("mlflow", "onnx", "onnxruntime")],
        onnx_execution_providers=hardware.options.get("providers", ["CPUExecutionProvider"]),
        onnx_session_options={"intra_op_num_threads": hardware.threads, "execution_mode": "sequential"},
        save_as_external_data=False,
        metadata={
            "candidate": candidate.id,
            "recipe": candidate.recipe.model_dump(mode="json"),
            "artifact": candidate.artifact.key,
            "hardware": hardware.name,
        },
    )
    # The measured files themselves, to the byte; the first is called model.onnx.
    for file in files:
        shutil.copyfile(file, place / ("model.onnx" if file == files[0] else file.name))


def _signature(graph: Any) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec
    from onnx.helper import tensor_dtype_to_np_dtype

    def spec(value: Any) -> Any:
        kind = value.type.tensor_type
        shape = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
        return TensorSpec(tensor_dtype_to_np_dtype(kind.elem_type), shape, value.name)

    stored = {weight.name for weight in graph.graph.initializer}
    inputs = [spec(value) for value in graph.graph.input if value.name not in stored]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([spec(value) for value in graph.graph.output]))


def _example(signature: Any, example: Example | None) -> dict[str, np.ndarray]:
    import numpy as np

    given = list((example or {}).values())
    return {
        spec.name: given[position][:1] if given else np.zeros([max(size, 1) for size in spec.shape], spec.type)
        for position, spec in enumerate(signature.inputs.inputs)
    }
