"""Processes that tests kill: readings forked from a warm parent, and workers of a Ray that this process started."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

TESTS = Path(__file__).parent

PARENT = """
import os, sys
import torch
torch.set_num_threads(1)
from toy_subject import HEADS, recipe, tiny
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
subject, options = tiny(), ReadOptions(progress=False, block=2)
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        read(subject, HEADS, recipe=recipe(%d, draws=8), seed=6, into=line.strip(), options=options)
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Readings:
    """A warm process that forks one reading of the toy subject after another, each to be killed.

    Args:
        groups: Groups of every reading.
    """

    def __init__(self, groups):
        environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", PARENT % groups]
        self.parent = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.parent.stdout.readline() == "ready\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.parent.stdin.close()
        self.parent.wait()
        self.parent.stdout.close()

    def killed(self, path, seconds):
        """Begin a reading into ``path`` and SIGKILL it after some time; whether it was still running."""
        self.parent.stdin.write(f"{path}\n")
        self.parent.stdin.flush()
        child = int(self.parent.stdout.readline())
        time.sleep(seconds)
        with contextlib.suppress(ProcessLookupError):  # it has finished
            os.kill(child, signal.SIGKILL)
        return int(self.parent.stdout.readline()) == signal.SIGKILL


def ray_workers(driver=None):
    """Worker processes below ``driver`` (a process id; None: this process) that are making a cell."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        try:
            words = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if words.startswith("ray::make_cell"):
            found.append(process)
    return found


DRIVER = """
import sys
import torch
torch.set_num_threads(1)
from toy_subject import HEADS, recipe, tiny
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.ray_engine import RayEngine
from susceptometer.compute.read import read
options = ReadOptions(progress=False, block=2, engine=RayEngine(workers=2))
read(tiny(), HEADS, recipe=recipe(int(sys.argv[2])), seed=6, into=sys.argv[1], options=options)
"""


class RayDriver:
    """A process that reads the toy subject on a local Ray of two workers, to be killed in whole or in part."""

    def __init__(self, path, groups):
        environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", DRIVER, str(path), str(groups)]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.killed()

    def running(self):
        """Whether it still reads."""
        return self.process.poll() is None

    def killed(self):
        """SIGKILL the driver once its workers are at work; whether it was still running."""
        self._busy()
        return self._kill([self.process]) if self.running() else 0

    def workers_killed(self, seconds):
        """SIGKILL every busy worker after some time; how many."""
        self._busy()
        time.sleep(seconds)
        return self._kill(ray_workers(self.process.pid)) if self.running() else 0

    def _busy(self):
        while self.running() and not ray_workers(self.process.pid):
            time.sleep(0.02)

    def _kill(self, processes):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.kill()
        self.process.poll() if self.process not in processes else self.process.wait()
        return len(processes)
