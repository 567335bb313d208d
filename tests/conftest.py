"""What every test may ask for: data, randomness, a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

# Before anything imports matplotlib, and inherited by every program that a test starts.
os.environ["MPLBACKEND"] = "Agg"

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("FASTQMRI_TEST_DATA", ROOT.parent / "shared" / "data"))
SEED = 20250117


def pytest_report_header() -> list[str]:
    """Say up front what this run can't look at, so that a pass is not read as more than it is."""
    return [
        f"test data: {DATA}{'' if DATA.is_dir() else ' (missing: tests on real data will skip)'}",
        f"chromium: {shutil.which('chromium') or 'missing: browser tests will skip'}",
    ]


@pytest.fixture(scope="session")
def test_data() -> Callable[[str], Path]:
    """Path of a data set's folder, by name; the test skips where the set is not at hand."""

    def folder(name: str) -> Path:
        path = DATA / name
        if not path.is_dir():
            pytest.skip(f"data set folder missing: {path} (set FASTQMRI_TEST_DATA)")
        return path

    return folder


@pytest.fixture
def generator() -> torch.Generator:
    """Randomness that is the same in every run."""
    return torch.Generator().manual_seed(SEED)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Debian's chromium; the test skips where there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium chromium-driver)")
    return path


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Dictionaries of tests stay out of the user's folder."""
    os.environ["FASTQMRI_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread_per_worker() -> Iterator[None]:
    """Workers of pytest-xdist share the cores: more threads in each would only queue."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def decay_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trained weights of the learned method ``decay`` of `recipes`."""
    from recipes import Decay, DecaySlow, train_decay

    folder = tmp_path_factory.mktemp("weights")
    train_decay(folder, Decay(), DecaySlow())
    return folder


@pytest.fixture
def decay(decay_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The learned method ``decay`` among the package's; the folder, a copy, that holds its weights."""
    from fastqmri.methods import METHODS
    from recipes import DECAY

    folder = tmp_path / "own-weights"
    shutil.copytree(decay_weights, folder)
    monkeypatch.setitem(METHODS, "decay", DECAY)
    monkeypatch.setenv("FASTQMRI_WEIGHTS", str(folder))
    return folder
