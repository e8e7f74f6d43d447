"""Peak memory of a reading does not grow with draws: the resident size of child processes, with a fault that shows."""

import os
import subprocess
import sys

from kills import TESTS

TOKENS, CHAINS = 32_000, 4

PARENT = """
import os, resource, sys, tempfile
from dataclasses import replace
import torch
torch.set_num_threads(1)
from toy_subject import CONFIG, recipe, rows, tiny
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.sampling.coupling import coupled
from susceptometer.sampling.run import Keep

one = tiny()
probes = {"base": rows("base"), "text": rows("text", %d // 8)}
one = replace(one, stages=TransformerStages(one.params, CONFIG), probes=probes)
for draws, tokens in ((2, 0), (20, 0), (20, 1)):
    child = os.fork()
    if child == 0:
        options = ReadOptions(progress=False, keep=Keep(tokens=bool(tokens)))
        with tempfile.TemporaryDirectory() as folder:
            read(one, ["0:0"], recipe=recipe(1, draws=draws), seed=1, into=folder, options=options)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def peaks():
    """Peak bytes at 2 draws, at 20 draws, and at 20 draws with every token loss kept."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PARENT % TOKENS], env=environment, capture_output=True, text=True, check=True
    )
    return [int(line) for line in done.stdout.split()]


def test_peak_memory_is_flat_in_draws():
    few, many, kept = peaks()
    traces = 18 * CHAINS * TOKENS * 4
    assert abs(many / few - 1) < 0.05
    assert abs(many - few) < traces / 3
    assert kept - few > traces / 2
