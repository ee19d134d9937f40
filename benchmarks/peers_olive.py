"""Olive's search, run by peers.py in an environment of its own: ``peers_olive.py FOLDER SECONDS``.

FOLDER holds ``float.onnx``, and ``calibration.npz`` and ``validation.npz`` with ``images`` and ``labels``; the models
that Olive makes are left in its ``cache``.

What Olive gets: its quantization, static and dynamic, with every parameter searched over Olive's own values but one:
activations are UInt8, for Int8 weights (the fastest pair on processors with VNNI, which its own space leaves out) and
for UInt8. Its multivariate TPE over all of it in one joint search, with accuracy on the validation split, latency at
one thread (200 runs after 20) and size as objectives in this order.

One pass does both modes, since Olive 0.13.0 runs the first of several alternatives whichever its sampler draws.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from olive.data.registry import Registry
from olive.workflows import run
from torch.utils.data import Dataset

SEARCHED = "SEARCHABLE_VALUES"
PARAMETERS = "quant_mode per_channel reduce_range quant_preprocess precision calibrate_method quant_format".split()


class Images(Dataset):
    """Images by the name of the model's input, with labels."""

    def __init__(self, path: str, name: str) -> None:
        with np.load(path, allow_pickle=False) as file:
            self.images, self.labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])
        self.name = name

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        return {self.name: self.images[index]}, self.labels[index]


@Registry.register_dataset()
def labelled_images(path: str, name: str) -> Images:
    """Give the images of a file."""
    return Images(path, name)


@Registry.register_post_process()
def most_likely(outputs: torch.Tensor) -> torch.Tensor:
    """Give each example's class."""
    return outputs.argmax(1)


def workflow(folder: Path, name: str, seconds: int) -> dict[str, Any]:
    """Write Olive's configuration.

    Args:
        folder: of the model and the data, and where Olive puts its own files.
        name: of the model's input.
        seconds: after which the search starts no sample.
    """
    strategy: dict[str, Any] = {"execution_order": "joint", "sampler": "tpe", "sampler_config": {"seed": 0}}
    strategy["max_time"] = seconds
    return {
        "input_model": {"type": "OnnxModel", "model_path": str(folder / "float.onnx")},
        "systems": {
            "here": {
                "type": "LocalSystem",
                "accelerators": [{"device": "cpu", "execution_providers": ["CPUExecutionProvider"]}],
            }
        },
        "data_configs": [
            _data(folder, "calibration", name, batch=1),
            _data(folder, "validation", name, batch=64),
            _data(folder, "validation", name, batch=1, called="one"),
        ],
        "evaluators": {"judge": {"metrics": _metrics()}},
        "passes": {"quantization": _quantization()},
        "search_strategy": strategy,
        "evaluator": "judge",
        "host": "here",
        "target": "here",
        "evaluate_input_model": False,
        "cache_dir": str(folder / "cache"),
        "output_dir": str(folder / "output"),
        "log_severity_level": 2,
    }


def _data(folder: Path, split: str, name: str, batch: int, called: str = "") -> dict[str, Any]:
    return {
        "name": called or split,
        "load_dataset_config": {
            "type": "labelled_images",
            "params": {"path": str(folder / f"{split}.npz"), "name": name},
        },
        "post_process_data_config": {"type": "most_likely"},
        "dataloader_config": {"params": {"batch_size": batch}},
    }


def _metrics() -> list[dict[str, Any]]:
    one_thread = {"onnx": {"session_options": {"intra_op_num_threads": 1, "inter_op_num_threads": 1}}}
    classes = {"task": "multiclass", "num_classes": 10}
    repeats = {"warmup_num": 20, "repeat_test_num": 200}
    return [
        {
            "name": "accuracy",
            "type": "accuracy",
            "data_config": "validation",
            "sub_types": [
                {"name": "accuracy_score", "priority": 1, "higher_is_better": True, "metric_config": classes},
            ],
            "user_config": {"inference_settings": one_thread},
        },
        {
            "name": "latency",
            "type": "latency",
            "data_config": "one",
            "sub_types": [{"name": "p50", "priority": 2, "metric_config": repeats}],
            "user_config": {"inference_settings": one_thread},
        },
        {"name": "size", "type": "size_on_disk", "sub_types": [{"name": "bytes", "priority": 3}]},
    ]


def _quantization() -> dict[str, Any]:
    given = {"data_config": "calibration", "activation_type": "uint8"}
    return {"type": "OnnxQuantization", "config": {**dict.fromkeys(PARAMETERS, SEARCHED), **given}}


def main(folder: Path, seconds: int) -> None:
    """Search."""
    name = onnx.load(folder / "float.onnx").graph.input[0].name
    run(workflow(folder, name, seconds))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
