"""Weights on disk: safetensors, written to a temporary name and renamed, so that no reader sees
half a file.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from susceptometer.errors import RunError
from susceptometer.types import Params


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write named tensors and string metadata atomically: after a crash the old file is there, or
    the new one.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file({n: t.contiguous() for n, t in tensors.items()}, temporary, metadata=dict(about))
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(path)


def read_tensors(path: Path) -> tuple[Params, dict[str, str]]:
    """The tensors and metadata of a safetensors file.

    Raises:
        RunError: The file is missing or truncated.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"the weights cannot be read ({error})",
            where=str(path),
            why="nothing can be computed without them",
            do="check the path, or make the file again",
        ) from error


def export_half(path: Path, params: Params, about: Mapping[str, str]) -> None:
    """Write weights as float16 (a relative error of at most 2^-11 for weights above 6e-5)."""
    write_tensors(path, {name: w.to(torch.float16) for name, w in params.items()}, about)


def load_full(path: Path) -> Params:
    """Weights stored in any float type, as float32."""
    return {name: w.float() for name, w in read_tensors(path)[0].items()}
