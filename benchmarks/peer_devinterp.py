"""susceptometer beside devinterp 2.0.1: same model, data, component, n_beta, gamma, step size.

    python benchmarks/peer_devinterp.py --peer-venv DIR [--only toy,cost,pico,pythia,stories] [--stories DIR]

Makes devinterp's virtual environment when DIR is missing. Each tool runs in a process of its own with one
thread; models and tokens go across as files, so neither imports the other. With ``--keep`` the same command goes on
where it was stopped. Writes
``benchmarks/results/peer_devinterp.json`` (``--out``) and prints a table. What is compared: ``README.md`` here.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import peer_cases
import peer_table

HERE = Path(__file__).parent
PEER_PACKAGES = ("devinterp==2.0.1", "torch==2.13.0", "zarr<3.2")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TQDM_DISABLE": "1"}


def peer_python(folder: Path) -> Path:
    """The interpreter of devinterp's environment; the environment is made when it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER_PACKAGES], check=True)
    return python


class Bench:
    """Runs jobs on either side, in a fresh process each, and keeps their reports.

    Args:
        peer: devinterp's interpreter.
        folder: Where models, tokens, jobs and traces are written.
        repeats: Times each timing is taken, the two tools alternating.
    """

    def __init__(self, peer: Path, folder: Path, *, repeats: int, stories: Path | None) -> None:
        self.commands = {
            "devinterp": [str(peer), str(HERE / "peer_worker.py")],
            "ours": [sys.executable, str(HERE / "peer_ours.py")],
        }
        self.folder, self.repeats, self.stories = folder, repeats, stories

    def run(self, side: str, job: dict, *, label: str) -> dict:
        """Run one job on ``side`` (``devinterp`` or ``ours``) unless its report lies in the folder; returns the report."""
        stem = self.folder / f"{label}-{side}"
        paths = {"report": f"{stem}.json", "traces": f"{stem}.npz"}
        asked, order = json.dumps(job | paths), Path(f"{stem}.job")
        if not (order.exists() and order.read_text() == asked and Path(paths["report"]).exists()):
            Path(paths["report"]).unlink(missing_ok=True)
            order.write_text(asked)
            done = subprocess.run(
                [*self.commands[side], str(order)],
                env=os.environ | ONE_THREAD,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(f"{side} failed on {label}:\n{done.stderr[-3000:]}")
        report = json.loads(Path(paths["report"]).read_text()) | {"traces": paths["traces"]}
        print(f"  {label} {side}: {report['cpu_s']['process']:.1f} CPU s", flush=True)
        return report

    def both(self, job: dict, *, label: str) -> dict[str, list[dict]]:
        """``repeats`` reports of each tool, alternating."""
        reports: dict[str, list[dict]] = {"devinterp": [], "ours": []}
        for turn in range(self.repeats):
            for side, kept in reports.items():
                kept.append(self.run(side, job | {"seed": job["seed"] + 1000 * turn}, label=f"{label}-{turn}"))
        return reports


def machine() -> dict[str, str]:
    """CPU model, thread count and date of this run."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": str(os.cpu_count()),
        "threads": "1",
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "peer": ", ".join(PEER_PACKAGES),
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-venv", type=Path, required=True)
    parser.add_argument("--stories", type=Path, help="folder of stories260K (Hugging Face layout)")
    parser.add_argument("--only", default=",".join(peer_cases.CASES), help="comma-separated cases")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="keep models, jobs and traces in this folder")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "peer_devinterp.json")
    return parser.parse_args()


def main() -> None:
    """Run the chosen cases, merge them into the results file, print the table."""
    options = arguments()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(peer_python(options.peer_venv), folder, repeats=options.repeats, stories=options.stories)
        results = json.loads(options.out.read_text()) if options.out.exists() else {}
        for name in options.only.split(","):
            print(name, flush=True)
            found = peer_cases.CASES[name](bench)
            if found is not None:
                results[name] = {"machine": machine()} | found
                options.out.parent.mkdir(exist_ok=True)
                options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(peer_table.table(results))


if __name__ == "__main__":
    main()
