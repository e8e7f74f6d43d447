"""Where the weights of a language model lie: gathered on one device, or refused in one message."""

import torch
from torch import nn
from transformers import PreTrainedModel

from susceptometer.errors import SubjectError

HOOKS = ("forward", "_hf_hook", "_old_forward")
"""What accelerate puts into a module to move its inputs between devices; on one device nothing has to be moved."""


def devices_of(model: nn.Module) -> set[torch.device]:
    """Devices of all weights."""
    return {value.device for value in model.parameters()}


def one_device(model: PreTrainedModel, wanted: torch.device | str | None) -> torch.device:
    """The device on which a model is read: the wanted one, or its own.

    Args:
        model: Any model, also one loaded with a ``device_map``.
        wanted: Device to gather the weights on; None: where they are.

    Raises:
        SubjectError: Weights are offloaded to disk, or lie on several devices and none is wanted.
    """
    found = devices_of(model)
    if any(device.type == "meta" for device in found):
        raise SubjectError(
            "weights of the model are offloaded",
            where=type(model).__name__,
            value=_placed(model),
            why="chains of many weights need every frozen weight at every step",
            do="load the model without a device_map that says disk (or on a machine that holds it)",
        )
    if wanted is not None:
        return torch.device(wanted)
    if len(found) > 1:
        raise SubjectError(
            "the model is split over several devices",
            where=type(model).__name__,
            value=_placed(model),
            why="all chains of a component run through the whole model on one device",
            do="gather it: language_subject(skeleton(model, 'cuda:0'), ...); more GPUs serve more cells: --engine ray",
        )
    return next(iter(found))


def _placed(model: nn.Module) -> str:
    """Where what lies, as the model's own map says or as measured."""
    own = getattr(model, "hf_device_map", None)
    return str(own) if own else ", ".join(sorted(map(str, devices_of(model))))


def unhook(model: nn.Module) -> None:
    """Remove what moves inputs between devices, module by module."""
    for module in model.modules():
        for name in HOOKS:
            module.__dict__.pop(name, None)
