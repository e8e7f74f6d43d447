"""What a stored number belongs to: hashes of weights, data, probes, masks, loss and settings.

A cell is found again only when all of them agree; a run folder refuses a subject that differs in any of them.
"""

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from susceptometer.posterior.component import Component, Piece
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.recipe import Recipe, recipe_to_dict
from susceptometer.types import Batch, rows_of, take

NUMBERS_VERSION = 1
"""Raised whenever a change of the code changes the numbers of a cell."""

CENTER_ROWS = 2
"""Rows of the base probe whose losses at w* are kept as a second witness of the loss."""


def digest(parts: Iterable[bytes | str]) -> str:
    """Hash of a sequence of texts and bytes, 32 hex digits."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def tensor_hash(value: Tensor) -> str:
    """Hash of type, shape and values, wherever the tensor lives."""
    flat = value.detach().cpu().contiguous().reshape(-1)
    return digest([str(value.dtype), str(tuple(value.shape)), flat.view(torch.uint8).numpy().tobytes()])


def tensors_hash(values: Mapping[str, Tensor]) -> str:
    """Hash of named tensors, in any order: weights, data or a probe."""
    return digest(text for name in sorted(values) for text in (name, tensor_hash(values[name])))


def component_hash(component: Component) -> str:
    """Hash of which weights a component holds and in which order, its name left out."""
    return digest(text for piece in component.pieces for text in _piece_texts(piece))


def _piece_texts(piece: Piece) -> list[str]:
    box = [(part.start, part.stop) for part in piece.box]
    loose = "" if piece.entries is None else tensor_hash(piece.entries)
    return [piece.param, str(tuple(piece.shape)), str(box), loose]


def settings_hash(recipe: Recipe) -> str:
    """Hash of a recipe without its number of groups, which more groups may change."""
    return digest([json.dumps(settings(recipe), sort_keys=True)])


def settings(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON-ready values, without the number of groups."""
    stored: dict[str, Any] = recipe_to_dict(recipe)
    schedule = {key: value for key, value in stored["schedule"].items() if key != "groups"}
    return {**stored, "schedule": schedule}


def loss_hash(loss: Callable) -> str:
    """Hash of what a loss is, as far as code can say: its functions, settings and held tensors."""
    return digest([_described(loss)])


def subject_identity(subject: Subject) -> dict[str, str]:
    """Hashes of weights, data, loss and base probe: what all cells of a run folder share.

    Reduced matrix products are named too; a run without that word is in float32.
    """
    precision = getattr(subject.stages, "precision", "float32")
    reduced = {} if precision == "float32" else {"matrix products": precision}
    return reduced | {
        "weights": tensors_hash(subject.params),
        "data": tensors_hash(subject.data),
        "loss": loss_hash(subject.loss),
        "base probe": tensors_hash(subject.probes["base"]),
    }


def center_witness(subject: Subject) -> list[float]:
    """Losses at w* of the first rows of the base probe, one mean per row: catches a changed loss function."""
    base: Batch = subject.probes["base"]
    rows = torch.arange(min(CENTER_ROWS, rows_of(base)))
    each = subject.center_loss(take(base, rows))
    return [float(row.double().mean()) for row in each]


def _described(thing: object) -> str:
    """Text that changes when a callable, its settings or its held values change."""
    if isinstance(thing, Tensor):
        return tensor_hash(thing)
    if isinstance(thing, nn.Module):
        return _module_text(thing)
    if isinstance(thing, functools.partial):
        return _joined("partial", thing.func, *thing.args, *sorted(thing.keywords.items()))
    if inspect.ismethod(thing):
        return _joined("method", thing.__func__, thing.__self__)
    if inspect.isfunction(thing):
        return _function_text(thing)
    if is_dataclass(thing) and not isinstance(thing, type):
        held = [(field.name, getattr(thing, field.name)) for field in fields(thing)]
        return _joined(_name(type(thing)), *held)
    if isinstance(thing, Mapping):
        return _joined("mapping", *sorted(thing.items()))
    if isinstance(thing, tuple | list):
        return _joined("sequence", *thing)
    plain = isinstance(thing, str | int | float | bool | bytes | complex) or thing is None
    return repr(thing) if plain else _name(thing if inspect.isroutine(thing) else type(thing))


def _joined(*things: object) -> str:
    return "(" + " ".join(_described(thing) for thing in things) + ")"


def _name(thing: object) -> str:
    module, name = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
    return f"{module}.{name}"


def _module_text(module: nn.Module) -> str:
    """The printed structure of a module; its weights are hashed as the subject's own."""
    config: Any = getattr(module, "config", None)
    stored = config.to_dict() if hasattr(config, "to_dict") else {}
    kept = {key: str(value) for key, value in stored.items() if key not in _UNSTABLE}
    return f"{_name(type(module))} {module!r} {json.dumps(kept, sort_keys=True)}"


_UNSTABLE = {"_name_or_path", "transformers_version", "dtype", "torch_dtype"}


def _function_text(function: Callable) -> str:
    """Name of a function of this package; otherwise its source, else its byte code, with what it encloses."""
    held = [cell.cell_contents for cell in function.__closure__ or () if cell.cell_contents is not function]
    held += [*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items())]
    if (function.__module__ or "").partition(".")[0] == "susceptometer":
        return _joined(_name(function), *held)
    try:
        body = inspect.getsource(function)
    except (OSError, TypeError):
        body = function.__code__.co_code.hex()
    return _joined(body, *held)
