"""Train the original model in half a minute: ``python train.py`` writes ``weights.safetensors`` beside this file."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import data
import model as definition
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

EPOCHS, BATCH, RATE, DECAY = 20, 50, 4e-3, 0.02
SHIFT, NOISE = 4, 0.1


def main(out: Path) -> float:
    """Train with a fixed seed on one thread, write the weights to ``out`` and return the test accuracy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    started = time.perf_counter()
    parts = data.splits()
    inputs, labels = parts["train"]
    model = definition.build().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY)
    steps = -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, EPOCHS * steps)
    for _ in range(EPOCHS):
        for index in torch.randperm(len(labels)).split(BATCH):
            loss = functional.cross_entropy(model(_augment(inputs[index])), labels[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        accuracy = {name: (model(x).argmax(1) == y).float().mean().item() for name, (x, y) in parts.items()}
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, out)
    torch.set_num_threads(threads)
    seconds = time.perf_counter() - started
    print(f"spoken digits: validation {accuracy['validation']:.4f}, test {accuracy['test']:.4f} after {seconds:.0f} s")
    return accuracy["test"]


def _augment(inputs: Tensor) -> Tensor:
    # Later by up to four frames, and a little noise.
    shift = int(torch.randint(0, SHIFT + 1, ()))
    moved = functional.pad(inputs, (0, 0, shift, 0))[:, :, : data.FRAMES]
    return moved + NOISE * torch.randn_like(moved)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("weights.safetensors"))
