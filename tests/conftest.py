"""What every test shares: one torch thread, a seed from the test's own name, a browser, reasons to skip."""

import os
import shutil
import zlib
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may reach a model hub
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

import shapecheck

torch.set_num_threads(1)
if os.environ.get("SUSCEPTOMETER_SHAPES") == "check":
    shapecheck.install()

BROWSER_REQUIRED = os.environ.get("SUSCEPTOMETER_BROWSER") == "required"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed fixed by the test's own name: stable under reordering, different between tests."""
    return zlib.crc32(request.node.nodeid.split("/")[-1].encode())


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The system's Chromium; skips where there is none, fails where the environment demands one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found:
        return Path(found)
    if BROWSER_REQUIRED:
        pytest.fail("SUSCEPTOMETER_BROWSER=required, but no chromium is installed")
    pytest.skip("no chromium on this machine: `apt-get install chromium` runs this test")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip GPU tests where there is no CUDA device."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
