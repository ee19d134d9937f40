"""Train the original model: ``python train.py`` writes ``weights.safetensors`` beside this file.

One thread, about eight minutes. Seeded: the same machine gives the same weights.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import data
import model as definition
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

EPOCHS, BATCH, RATE, DECAY, SMOOTHING = 12, 128, 0.2, 5e-4, 0.05


def main(out: Path) -> float:
    """Train, print each epoch, write the weights to ``out`` and return the test accuracy."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels, validation, test = data.full()
    model = definition.build().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=0.9, weight_decay=DECAY, nesterov=True)
    steps = -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, EPOCHS * steps, pct_start=0.2)
    started = time.perf_counter()
    for epoch in range(1, EPOCHS + 1):
        model.train()
        for index in torch.randperm(len(labels)).split(BATCH):
            batch = _augment(images[index]).contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(model(batch), labels[index], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        seconds = time.perf_counter() - started
        print(
            f"epoch {epoch}/{EPOCHS}: validation {_accuracy(model, *validation):.4f} after {seconds:.0f} s", flush=True
        )
    accuracy = _accuracy(model, *test)
    print(f"test {accuracy:.4f}")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, out)
    return accuracy


def _augment(images: Tensor) -> Tensor:
    # Mirrored for half of them, all moved by up to two pixels.
    mirrored = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(3), images)
    padded = functional.pad(mirrored, (2, 2, 2, 2), value=-data.MEAN / data.DEVIATION)
    top, left = torch.randint(0, 5, (2,)).tolist()
    return padded[:, :, top : top + 28, left : left + 28]


@torch.inference_mode()
def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    model.eval()
    hits = sum(
        (model(x).argmax(1) == y).sum().item() for x, y in zip(images.split(500), labels.split(500), strict=True)
    )
    return hits / len(labels)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("weights.safetensors"))
