"""Dictionaries on the disk: found again, damaged, interrupted; and what makes one another's."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fastqmri.core import DataError, MultiEchoSpinEcho
from fastqmri.estimators import dictionary, dictionary_cache
from fastqmri.estimators.dictionary import build, identity
from fastqmri.estimators.grid import Grid
from fastqmri.physics.signal import ExponentialDecay, SpinEchoTrain

ECHOES = MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 17)))
AXES = {"T2": 50, "B1": 20}


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionary, "_PIECE", 1)  # 64 atoms each


def _build(cache: Path, model: SpinEchoTrain | None = None, **options: object) -> dictionary.Dictionary:
    model = model or SpinEchoTrain(ECHOES)
    return build(model, Grid.of(model, AXES), cache=cache, keep_after=0.0, **options)  # type: ignore[arg-type]


def test_atoms_are_the_models_signals_at_unit_norm(tmp_path: Path, small_pieces: None) -> None:
    model = SpinEchoTrain(ECHOES)
    done: list[tuple[int, int]] = []
    made = _build(tmp_path, model, progress=lambda *step: done.append(step))
    signals = model(made.grid.points).T
    assert torch.allclose(made.atoms * made.norms[:, None], signals, rtol=1e-13, atol=0)
    assert torch.allclose(made.atoms.norm(dim=1), torch.ones(1000, dtype=torch.float64))
    assert done[-1] == (1000, 1000)
    assert len(done) == 16


def test_a_kept_dictionary_is_read_bit_by_bit(tmp_path: Path) -> None:
    first, second = _build(tmp_path), _build(tmp_path)
    assert (first.origin, second.origin) == ("built", str(tmp_path / f"{first.key}.atoms.npy"))
    assert torch.equal(first.atoms, second.atoms)
    assert torch.equal(first.norms, second.norms)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".npy", ".npy"]


def test_quick_ones_are_not_kept(tmp_path: Path) -> None:
    model = SpinEchoTrain(ECHOES)
    build(model, Grid.of(model, {"T2": 5, "B1": 3}), cache=tmp_path, keep_after=60.0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["atoms", "norms", "json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "missing"])
def test_damage_is_noticed_and_mended(
    tmp_path: Path, part: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = _build(tmp_path)
    path = tmp_path / (f"{first.key}.json" if part == "json" else f"{first.key}.{part}.npy")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2 if part != "json" else content.rindex(b"-") + 1] ^= 0x01
    path.write_bytes(
        {"flip": content, "cut": content[: len(content) // 2], "empty": b"", "missing": b""}[damage]
    )
    if damage == "missing":
        path.unlink()
    with caplog.at_level(logging.WARNING):
        second = _build(tmp_path)
    assert second.origin == "built"
    assert torch.equal(first.atoms, second.atoms)
    assert ("damaged" in caplog.text) == (not (part == "json" and damage == "missing"))
    assert _build(tmp_path).origin != "built"


def test_pickles_are_not_run(tmp_path: Path) -> None:
    first = _build(tmp_path)
    store = dictionary_cache.Store(tmp_path, first.key)
    np.save(store.atoms, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    card = store.card.read_text()
    for name, path in (("atoms", store.atoms), ("norms", store.norms)):
        old = card.split(f'"{name}": "')[1].split('"')[0]
        card = card.replace(old, dictionary_cache._checksum(path))
    store.card.write_text(card)
    assert _build(tmp_path).origin == "built"


def test_an_interrupted_build_is_taken_up(
    tmp_path: Path, small_pieces: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = SpinEchoTrain.forward, []

    def failing(self: SpinEchoTrain, x: Tensor) -> Tensor:
        calls.append(x.shape[1])
        if len(calls) == 9:  # the first call is that of the probes
            raise KeyboardInterrupt
        return forward(self, x)

    monkeypatch.setattr(SpinEchoTrain, "forward", failing)
    with pytest.raises(KeyboardInterrupt):
        _build(tmp_path)
    kept = list(tmp_path.glob("*.pieces/*.npz"))
    assert 0 < len(kept) <= 7
    kept[0].write_bytes(kept[0].read_bytes()[:200])  # damaged: made again
    calls[:] = [0] * 9
    made = _build(tmp_path)
    assert len(calls) - 9 == 1 + 16 - (len(kept) - 1)
    model = SpinEchoTrain(ECHOES)
    assert torch.equal(made.atoms, _build(tmp_path / "other", model).atoms)
    assert not list(tmp_path.glob("*.pieces"))


_VICTIM = """
import sys, torch
from pathlib import Path
from fastqmri.core import MultiEchoSpinEcho
from fastqmri.estimators import dictionary
from fastqmri.estimators.grid import Grid
from fastqmri.physics.signal import SpinEchoTrain
torch.set_num_threads(1)
dictionary._PIECE = 1
model = SpinEchoTrain(MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 17))))
print("go", flush=True)
dictionary.build(model, Grid.of(model, {"T2": 200, "B1": 100}), cache=Path(sys.argv[1]), keep_after=0.0)
"""


def test_a_killed_build_leaves_nothing_half_done(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _VICTIM, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    until = time.monotonic() + 20
    while not list(tmp_path.glob("*.pieces/[0-9]*.npz")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob("*.pieces/[0-9]*.npz"))
    assert not list(tmp_path.glob("*.json"))
    model = SpinEchoTrain(ECHOES)
    grid = Grid.of(model, {"T2": 200, "B1": 100})
    made = build(model, grid, cache=tmp_path, keep_after=0.0)
    places = torch.arange(0, grid.count, 37)
    wanted = model(grid.points[:, places]).T
    assert torch.allclose(made.atoms[places] * made.norms[places, None], wanted, rtol=1e-13, atol=0)


def test_a_folder_that_cant_be_written_is_no_obstacle(
    tmp_path: Path, small_pieces: None, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with caplog.at_level(logging.WARNING):
        made = _build(blocked)
    assert made.atoms.shape == (1000, 16)
    assert caplog.text.count("not kept") == 1


def test_the_key_tells_apart_all_that_matters() -> None:
    plain = SpinEchoTrain(ECHOES)
    grid = Grid.of(plain, AXES)
    later = MultiEchoSpinEcho(echo_time=tuple(0.011 * i for i in range(1, 17)))
    decay = ExponentialDecay(ECHOES)
    keys = {
        identity(plain, grid, torch.float64),
        identity(plain, grid, torch.float32),
        identity(SpinEchoTrain(ECHOES, "ideal"), grid, torch.float64),
        identity(SpinEchoTrain(later), grid, torch.float64),
        identity(plain, Grid.of(plain, {"T2": 49, "B1": 20}), torch.float64),
        identity(plain, Grid.of(plain, AXES, known={"T1": 2.0}), torch.float64),
        identity(decay, Grid.of(decay, {"T2": 50}), torch.float64),
    }
    assert len(keys) == 7
    assert identity(SpinEchoTrain(ECHOES), Grid.of(plain, AXES), torch.float64) in keys


def test_changed_physics_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SpinEchoTrain(ECHOES)
    grid = Grid.of(model, AXES)
    before = identity(model, grid, torch.float64)
    forward = SpinEchoTrain.forward
    monkeypatch.setattr(SpinEchoTrain, "forward", lambda self, x: forward(self, x) * (1 + 1e-5 * x[1]))
    assert identity(model, grid, torch.float64) != before


def test_signals_that_are_not_finite_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SpinEchoTrain, "forward", lambda self, x: x[1:2].expand(16, -1) / (x[1:2] - x[1, 0]))
    with pytest.raises(DataError, match="T2"):
        _build(tmp_path)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"FASTQMRI_CACHE": "/a"}, "/a/dictionaries"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/fastqmri/dictionaries"),
        ({"HOME": "/c"}, "/c/.cache/fastqmri/dictionaries"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the folder is the system's")
def test_the_folder(variables: dict[str, str], wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FASTQMRI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setitem(os.environ, name, value)
    assert dictionary_cache.folder() == Path(wanted)
