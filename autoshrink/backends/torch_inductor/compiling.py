"""The compiler: an exported program to a package with nothing in it but what runs."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.export import ExportedProgram

__all__ = ["Compiled", "compile_program"]

_CALL = re.compile(r"\baoti_torch_(?:cpu|cuda)_(\w+?)\(")
_SOURCES = (".cpp", "kernel_metadata.json")


@dataclass(frozen=True)
class Compiled:
    """A package's content, and what it does."""

    content: bytes
    executed: dict[str, int]
    """Calls of operators of the library, by name."""
    seconds: float
    """What compiling took."""


def compile_program(program: ExportedProgram, inputs: list[dict[str, Any]], *, threads: int, fold: bool) -> Compiled:
    """Compile a program for this machine.

    Most of the time goes to the C++ compiler, which reads and translates the same 4 s of templates in every wrapper,
    whatever its level of optimization. Without debugging tables, which are on by default, the file is half as large.

    Args:
        program: with its example inputs on the device that it is compiled for.
        inputs: name, dtype and shape of each input, for whoever loads the package.
        threads: that share a loop.
        fold: compute with constants when the package is loaded, and not now: what is stored in fewer bits stays so.

    Raises:
        RuntimeError: and its like, from the compiler.
    """
    import torch._inductor
    from torch._inductor.package.package import package_aoti

    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="autoshrink-inductor-") as folder:
        arguments = program.example_inputs[0] if program.example_inputs else ()
        files: Any = torch._inductor.aot_compile(
            program.module(check_guards=False),
            arguments,
            options={
                "aot_inductor.package": True,
                "aot_inductor.output_path": folder,
                "aot_inductor.enable_line_tables": False,
                "aot_inductor.enable_frame_pointer": False,
                "aot_inductor.use_runtime_constant_folding": fold,
                "aot_inductor.weight_use_caching_allocator": True,  # so that a GPU's memory is counted with weights
                "aot_inductor.metadata": {"inputs": json.dumps(inputs)},
                "freezing": not fold,
                "size_asserts": False,  # whose messages hold addresses of this process
                "cpp.threads": threads,
            },
        )
        wrapper = next(Path(str(file)) for file in files if str(file).endswith("wrapper.cpp")).read_text()
        kept = [file for file in files if not str(file).endswith(_SOURCES)]
        for file in (Path(str(file)) for file in kept if str(file).endswith(".so")):
            # The same model gives the same file: no place, and no key of what is stripped. `strip` is the linker's.
            subprocess.run(["strip", "--remove-section=.note.gnu.build-id", file], check=True)
            file.write_bytes(file.read_bytes().replace(folder.encode(), b"/" * len(folder)))
        package = Path(folder) / "model.pt2"
        package_aoti(str(package), kept)
        content = package.read_bytes()
    body = wrapper[wrapper.index("::run_impl(") :]
    executed = Counter(_CALL.findall(body))
    return Compiled(content, dict(sorted(executed.items())), time.perf_counter() - begun)
