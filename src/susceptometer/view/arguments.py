"""The words of the command line: commands, options, their defaults and one line of help each."""

import argparse
from collections.abc import Mapping

MODEL = "pico, pico-mini, a local Hugging Face folder, or a hub id with @revision"
SAMPLER_NAMES = ("SGLD", "LeimkuhlerMatthews", "RMSpropSGLD", "SGHMC", "SGNHT")

ROWS = "rows read of every probe; default 4 of base and 2 of every other"

PRECISIONS = ("float32", "mixed", "bfloat16")


def parser(commands: Mapping[str, str]) -> argparse.ArgumentParser:
    """Every command (name and what it does) with its options."""
    whole = argparse.ArgumentParser(prog="susceptometer", description="Read the structure of a neural network.")
    rooms = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parts = {}
    for name, text in commands.items():
        parts[name] = rooms.add_parser(name, help=text, description=text)
        parts[name].add_argument("--json", action="store_true", help="machine-readable output, stable keys")
    for name in ("components", "calibrate", "read"):
        parts[name].add_argument("model", help=MODEL, nargs="?" if name == "read" else None)
        parts[name].add_argument("--step", type=int, default=-1, help="training step of a bundled model")
        parts[name].add_argument("--data", help="text file or folder, hub:NAME, or token rows .npy")
        parts[name].add_argument("--device", default="cpu", help="cpu or cuda (Ray workers take GPUs themselves)")
    for name in ("llc", "chi", "spectrum", "embed", "cluster", "sae", "report", "doctor", "plan"):
        parts[name].add_argument("run", help="a run folder")
    for name in ("llc", "chi", "spectrum", "embed", "cluster", "sae"):
        parts[name].add_argument("--drop-failed", action="store_true", help="look at the healthy groups only")
    parts["quickstart"].add_argument("--into", default="runs/quickstart", help="folder of run and page")
    parts["components"].add_argument("pattern", nargs="?", help="names, short names or globs")
    parts["calibrate"].add_argument("component", help="name of a part, e.g. 0:3")
    parts["chi"].add_argument("--data", help="new text, evaluated without sampling again")
    parts["chi"].add_argument("--out", help=".csv or .parquet")
    parts["report"].add_argument("--out", help="the HTML file; default RUN/report.html")
    parts["calibrate"].add_argument("--out", help="JSON file for the recipe")
    parts["doctor"].add_argument("--partial", action="store_true", help="accept an interrupted run")
    _add_reproduction(parts["reproduce"])
    _add_development(parts["develop"])
    _add_plan(parts["plan"])
    _add_structure(parts["spectrum"], parts["embed"])
    _add_clusters(parts["cluster"], parts["sae"])
    _add_settings(parts["calibrate"], groups=8)
    _add_settings(parts["read"], groups=None)
    _add_destination(parts["read"])
    _add_read_options(parts["read"])
    parts["read"].add_argument("--rows", type=int, help=ROWS)
    _add_explorer(parts["explore"])
    return whole


def _add_structure(spectrum: argparse.ArgumentParser, embed: argparse.ArgumentParser) -> None:
    for part in (spectrum, embed):
        part.add_argument("--form", default="within-run", choices=["within-run", "two-run"], help="estimator of chi")
        part.add_argument("--components", nargs="+", help="names or globs; default: all of the run")
        part.add_argument("--seed", type=int, default=0, help="names all random streams")
        part.add_argument("--out", help="table of tokens: .csv or .parquet")
    kinds = ["columns", "columns and rows"]
    spectrum.add_argument("--standardise", default="columns", choices=kinds, help="before the decomposition")
    spectrum.add_argument("--pcs", type=int, default=8, help="pairs shown, at most")
    embed.add_argument("--standardise", default="columns", choices=[*kinds, "whitened"], help="before the map")
    embed.add_argument("--neighbours", type=int, default=45, help="nearest neighbours that count as near")
    embed.add_argument("--min-dist", type=float, default=0.1, help="how close points may lie")
    embed.add_argument("--metric", default="euclidean", choices=["euclidean", "cosine"], help="distance of vectors")


def _add_clusters(cluster: argparse.ArgumentParser, sae: argparse.ArgumentParser) -> None:
    for part in (cluster, sae):
        part.add_argument("--form", default="within-run", choices=["within-run", "two-run"], help="estimator of chi")
        part.add_argument("--neighbours", type=int, default=45, help="nearest neighbours of each token in the graph")
        part.add_argument("--graph", default="mutual", choices=["mutual", "union"], help="when two tokens are joined")
        part.add_argument("--phi-max", type=float, help="largest conductance; default: calibrated on a null cloud")
        part.add_argument("--null", default="copula", choices=["copula", "shuffled"], help="which null cloud")
        part.add_argument("--seed", type=int, default=0, help="names all random streams")
    cluster.add_argument("--cards", type=int, default=12, help="clusters described, at most")
    cluster.add_argument("--contexts", type=int, default=6, help="examples per cluster")
    cluster.add_argument("--against", metavar="RUN", help="another run of the same tokens, e.g. at n_beta = 0")
    cluster.add_argument("--out", help="table of tokens: .parquet (for embedding-atlas too) or .csv")
    sae.add_argument("--features", help="folder with cfg.json and weights; default: pico's bundled dictionary")
    sae.add_argument("--stream", type=int, default=1, help="residual stream: 0 embedding, l after block l - 1")
    sae.add_argument("--place", default="target", choices=["context", "target"], help="where features are read")


def _add_reproduction(part: argparse.ArgumentParser) -> None:
    part.add_argument("name", nargs="?", help="a claim set; without it: the list")
    part.add_argument("--scale", default="smoke", choices=["smoke", "cpu", "gpu"], help="how much is measured")
    part.add_argument("--seed", type=int, default=0, help="names all random streams")
    part.add_argument("--into", help="folder of finished cells; the same command goes on there")
    part.add_argument("--text", help="text file or folder; default: what every Python installation holds")
    part.add_argument("--out", help="also write the table: .md or .json")
    part.add_argument("--page", help="also write a page with figures: .html")


def _add_explorer(part: argparse.ArgumentParser) -> None:
    part.add_argument("target", metavar="RUN|MODEL", help=f"a run folder, or a model to read first: {MODEL}")
    part.add_argument("--runs", nargs="+", default=[], metavar="RUN|MODEL", help="further checkpoints, same tokens")
    part.add_argument("--steps", type=int, nargs="+", help="training steps, target first; default: from names")
    part.add_argument("--clusters", default="make", help="make, none, or a .parquet of `cluster --out`")
    part.add_argument("--umap", action="store_true", help="also a UMAP map, aligned over checkpoints")
    part.add_argument("--neighbours", type=int, default=45, help="nearest neighbours of each token (clusters, UMAP)")
    part.add_argument("--form", default="within-run", choices=["within-run", "two-run"], help="estimator of chi")
    part.add_argument("--out", help="the HTML file; default RUN/explorer.html")
    part.add_argument("--parquet", help="also a table of tokens that embedding-atlas opens: .parquet")
    part.add_argument("--step", type=int, default=-1, help="training step of a bundled model")
    part.add_argument("--data", help="text of a model that is read: file or folder, hub:NAME, or token rows .npy")
    part.add_argument("--rows", type=int, help=ROWS)
    part.add_argument("--into", default="runs", help="folder in which runs of models are made, one each")
    part.add_argument("--device", default="cpu", help="cpu or cuda")
    _add_settings(part, groups=None)
    _add_read_options(part)


def _add_development(part: argparse.ArgumentParser) -> None:
    part.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or checkpoint folders (then --into)")
    part.add_argument("--steps", type=int, nargs="+", help="training step of each; default: from its name")
    part.add_argument("--data", help="text for checkpoint folders, as for read")
    part.add_argument("--out", help="table: .csv or .parquet")
    part.add_argument("--page", help="page with a figure: .html")
    _add_settings(part, groups=None)
    _add_destination(part)
    _add_read_options(part)


def _add_plan(part: argparse.ArgumentParser) -> None:
    part.add_argument(
        "--target", nargs="+", required=True, metavar="WANTED",
        help="NAME=CHANGE in nats, llc:NAME=CHANGE, or pair:NUMBER=CHANGE",
    )  # fmt: skip
    part.add_argument("--per", default="token", choices=["token", "row", "probe"], help="what gets a weight")
    part.add_argument("--strength", type=float, default=1.0, help="multiple of the target")
    part.add_argument("--bounds", type=float, nargs=2, metavar=("LEAST", "MOST"), help="solve within these weights")
    part.add_argument("--budget", type=float, help="largest share of the data that may be moved")
    part.add_argument("--examples", type=int, default=0, help="show so many most and least weighted data")
    part.add_argument("--out", help="weights: .parquet or .npy")
    part.add_argument("--page", help="also write a page: .html")


def _add_settings(part: argparse.ArgumentParser, *, groups: int | None) -> None:
    part.add_argument("--n-beta", type=float, default=30.0, help="effective inverse temperature, 1/nats")
    part.add_argument("--gamma", type=float, default=300.0, help="pull to w*; calibrate: 0 takes the least")
    part.add_argument("--groups", type=int, default=groups, help="independent replicates")
    part.add_argument("--batch-rows", type=int, default=8, help="data rows per step; 0: all")
    part.add_argument("--seed", type=int, default=0, help="names all random streams")
    part.add_argument("--precision", default="float32", choices=PRECISIONS, help="of matrix products")


def _add_destination(part: argparse.ArgumentParser) -> None:
    part.add_argument("--into", help="run folder; an unfinished run there goes on")
    part.add_argument("--extend", metavar="RUN", help="add --groups, --components or --data to a run")


def _add_read_options(part: argparse.ArgumentParser) -> None:
    part.add_argument("--components", nargs="+", help="names, short names or globs; default: all heads")
    part.add_argument("--recipe", help="JSON file made by calibrate --out")
    part.add_argument("--sampler", default="LeimkuhlerMatthews", choices=SAMPLER_NAMES)
    part.add_argument("--step-size", type=float, default=5e-4, help="weight^2")
    part.add_argument("--burn-in", type=int, default=40, help="steps never counted")
    part.add_argument("--draws", type=int, default=100, help="recorded states per chain")
    part.add_argument("--thin", type=int, default=2, help="steps between draws")
    part.add_argument("--h", type=float, default=0.1, help="relative response step; 0: no coupled arms")
    part.add_argument("--full", action="store_true", help="read also all weights together")
    part.add_argument("--keep-weights", action="store_true", help="store draws, so new text needs no chains")
    part.add_argument("--target-se", type=float, help="more groups until no error exceeds this")
    part.add_argument("--budget", type=seconds, help="more groups until this time is used: 90s, 30m, 2h")
    part.add_argument("--of", default="llc", choices=["llc", "chi"], help="whose error counts")
    part.add_argument("--engine", default="local", choices=["local", "ray"], help="where cells run")
    part.add_argument("--ray-address", help="a running Ray cluster to join; default: start a local one")
    part.add_argument("--workers", type=int, help="worker processes of a local Ray; default: one per core")
    part.add_argument("--dry-run", action="store_true", help="print the forecast only")


def seconds(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``30m`` or ``2h``."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], 0)
    return float(text[:-1]) * unit if unit else float(text)
