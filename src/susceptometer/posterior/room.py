"""How much one pass may hold: a fixed number of events on a CPU, as many as fit into free memory on a GPU.

An event is one loss of one chain (a token). Passes are cut by this number only, so it moves sums by their rounding and
nothing else.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

SHARE = 0.6
"""Part of the free memory that a pass may take: the trial is small, and kernels of larger passes reserve more."""

LARGEST = 1 << 22
"""More events in a pass make it no faster."""


class Meter(Protocol):
    """Tells how much memory is free and how much a piece of work takes at its peak."""

    def free(self) -> int:
        """Bytes that can still be had."""
        ...

    def peak(self, work: Callable[[], object]) -> int:
        """Bytes that ``work`` takes beyond what is held before it."""
        ...


def meter_for(center: Tensor) -> Meter | None:
    """The meter of a tensor's device; None on a CPU, whose memory is the system's to give."""
    return CudaMeter(center.device) if center.is_cuda else None


def events_in_room(fixed: int, trial: Callable[[], object], events: int, meter: Meter | None) -> int:
    """Events of one pass.

    Args:
        fixed: Without a meter, and at least.
        trial: A small pass; run twice (the first loads kernels).
        events: Events of that pass.
        meter: See `meter_for`.
    """
    if meter is None:
        return fixed
    trial()
    each = meter.peak(trial) / events
    return min(LARGEST, max(fixed, int(SHARE * meter.free() / max(each, 1.0))))


class CudaMeter:
    """Memory of a CUDA device, what PyTorch holds in reserve counted as free."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free(self) -> int:
        """Free bytes of the device and of PyTorch's reserve."""
        held = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return torch.cuda.mem_get_info(self._device)[0] + held

    def peak(self, work: Callable[[], object]) -> int:
        """Peak of the allocated bytes over those before."""
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        work()
        return torch.cuda.max_memory_allocated(self._device) - before
