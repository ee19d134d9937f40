"""The words of autoshrink as frozen types; imports no torch, optuna, ray, mlflow and no runtime."""

from autoshrink.core.candidate import Accuracy, Candidate
from autoshrink.core.catalog import catalog_folder, find_document, names
from autoshrink.core.documents import Document, Source, read_yaml
from autoshrink.core.encoding import Encoding
from autoshrink.core.errors import AutoshrinkError, BackendUnavailable, DeviceError, Refusal, SpecError
from autoshrink.core.front import Front, Judged, Limits, judge
from autoshrink.core.hardware import Capabilities, Energy, Hardware
from autoshrink.core.measurement import Artifact, Measurement, Metric
from autoshrink.core.problems import nearest
from autoshrink.core.quantities import parse_quantity, show_quantity, write_quantity
from autoshrink.core.recipe import Recipe, Setting, content_key
from autoshrink.core.sensitivity import LayerSensitivity, Option, Sensitivity
from autoshrink.core.space import Chooser, Range, Space, Step
from autoshrink.core.tally import Standing, Tally
from autoshrink.core.target import COSTS, AccuracyGoal, Budget, SearchSettings, Target

__all__ = [
    "COSTS",
    "Accuracy",
    "AccuracyGoal",
    "Artifact",
    "AutoshrinkError",
    "BackendUnavailable",
    "Budget",
    "Candidate",
    "Capabilities",
    "Chooser",
    "DeviceError",
    "Document",
    "Encoding",
    "Energy",
    "Front",
    "Hardware",
    "Judged",
    "LayerSensitivity",
    "Limits",
    "Measurement",
    "Metric",
    "Option",
    "Range",
    "Recipe",
    "Refusal",
    "SearchSettings",
    "Sensitivity",
    "Setting",
    "Source",
    "Space",
    "SpecError",
    "Standing",
    "Step",
    "Tally",
    "Target",
    "catalog_folder",
    "content_key",
    "find_document",
    "judge",
    "names",
    "nearest",
    "parse_quantity",
    "read_yaml",
    "show_quantity",
    "write_quantity",
]
