"""Options of a reading: nothing here changes a number that is already stored."""

from collections.abc import Callable
from dataclasses import dataclass, field

from susceptometer.compute.cells import Engine, run_here
from susceptometer.compute.progress import ProgressFn
from susceptometer.compute.schedule import Goal
from susceptometer.posterior.prefix import MEMORY_BYTES
from susceptometer.sampling.run import Keep


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What does not change the numbers, or adds to them.

    Args:
        keep: What cells store beyond moments (`Keep(weights=True)` lets new text be read without sampling).
        full: Read also the component ``full``: all weights at once (for the two-run form).
        probes: Names of the subject's probes to read; None: all.
        block: Groups per cell; None: the largest divisor of ``groups`` up to `LARGEST_BLOCK`. Fixed per folder.
        goal: Adaptive rounds after the first; see `schedule.Goal`.
        engine: Where cells run.
        prefix_bytes: Memory for frozen prefixes; what does not fit goes to a file in the run folder.
        progress: True: a bar on the terminal; a function: told every `Standing`; False: silent.
        announce: Told the forecast and what happens, in lines; None: no forecast is made.
        command: Command line, kept in the provenance.
    """

    keep: Keep = field(default_factory=Keep)
    full: bool = False
    probes: tuple[str, ...] | None = None
    block: int | None = None
    goal: Goal | None = None
    engine: Engine = run_here
    prefix_bytes: int = MEMORY_BYTES
    progress: ProgressFn | bool = True
    announce: Callable[[str], None] | None = None
    command: str = ""
