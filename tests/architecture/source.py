"""The project's own files, read as text and syntax trees, for the architecture tests."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "susceptometer"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file: where it lies, its text and its syntax tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def place(self) -> str:
        """Path relative to the repository, or to its last parts elsewhere."""
        return str(self.path.relative_to(ROOT)) if self.path.is_relative_to(ROOT) else self.path.name

    def functions(self) -> Iterator[Function]:
        """Every function and method, nested ones included."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))


def modules(folder: Path) -> list[Module]:
    """Every Python file under ``folder``, parsed."""
    return [_parsed(path) for path in sorted(folder.rglob("*.py"))]


@lru_cache
def _parsed(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    return Module(path, text, ast.parse(text, filename=str(path)))


def public(name: str) -> bool:
    """Whether ``name`` is part of a public surface."""
    return not name.startswith("_")


def tracked_files() -> list[Path]:
    """Files under version control, or every file where the project is no checkout."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True)
    names = [name for name in listing.stdout.split("\0") if name]
    files = [ROOT / name for name in names] if names else list(ROOT.rglob("*"))
    return [path for path in files if path.is_file() and ".venv" not in path.parts]
