"""The trainer: resumed equals unbroken, seeds decide, processes agree."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fastqmri.core import FileError, PlausibilityError
from fastqmri.learning.recipe import TrainingSettings
from fastqmri.learning.training import CHECKPOINT, train
from recipes import Line

SETTINGS = TrainingSettings(seed=3, steps=40, batch=8, learning_rate=0.05, validate_every=10)


def numbers(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_training_finds_the_line(tmp_path: Path) -> None:
    trained = train(Line(), tmp_path, SETTINGS.model_copy(update={"steps": 400}))
    assert torch.allclose(numbers(trained.network), torch.tensor([2.0, -1.0]), atol=0.02)
    assert trained.history[-1]["score"] < trained.history[0]["score"]
    assert [row["step"] for row in trained.history] == [10.0 * n for n in range(1, 41)]


def test_same_seed_same_bytes_another_seed_others(tmp_path: Path) -> None:
    first, again = (train(Line(), tmp_path / name, SETTINGS) for name in ("a", "b"))
    other = train(Line(), tmp_path / "c", SETTINGS.model_copy(update={"seed": 4}))
    assert torch.equal(numbers(first.network), numbers(again.network))
    assert not torch.equal(numbers(first.network), numbers(other.network))


def test_global_generator_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train(Line(), tmp_path, SETTINGS)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("killed_at", [7, 20, 33])
def test_killed_and_resumed_equals_unbroken(
    tmp_path: Path, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastqmri.learning.training._SAVE_EVERY", 0.0)
    unbroken = train(Line(), tmp_path / "unbroken", SETTINGS)

    def kill(step: int, _: int) -> None:
        if step == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Line(), tmp_path / "killed", SETTINGS, progress=kill)
    steps: list[int] = []
    resumed = train(
        Line(), tmp_path / "killed", SETTINGS, resume=True, progress=lambda step, _: steps.append(step)
    )
    assert steps[0] == killed_at + 1
    assert torch.equal(numbers(unbroken.network), numbers(resumed.network))
    assert unbroken.history == resumed.history


def test_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    recipe = Line(scores=[3.0, 1.0, 2.0, 2.0, 0.5])
    settings = SETTINGS.model_copy(update={"steps": 100, "patience": 2})
    trained = train(recipe, tmp_path, settings)
    assert trained.stopped == 40
    assert torch.equal(numbers(trained.network), recipe.seen[1])


def test_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    train(Line(), tmp_path, SETTINGS)
    with pytest.raises(FileError, match="learning_rate"):
        train(Line(), tmp_path, SETTINGS.model_copy(update={"learning_rate": 0.1}), resume=True)


def test_broken_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(FileError, match="no checkpoint"):
        train(Line(), tmp_path, SETTINGS, resume=True)


def test_batch_has_to_be_shared_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastqmri.learning.training._process", lambda: (0, 3))
    with pytest.raises(PlausibilityError, match="3 processes"):
        train(Line(), tmp_path, SETTINGS)


def test_half_precision_comes_close(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"steps": 400, "precision": "bfloat16"})
    trained = train(Line(), tmp_path, settings)
    assert torch.allclose(numbers(trained.network), torch.tensor([2.0, -1.0]), atol=0.1)


def test_learning_rate_rises_then_falls_to_zero(tmp_path: Path) -> None:
    from fastqmri.learning.training import _rate

    settings = SETTINGS.model_copy(update={"steps": 100, "warm_up": 0.1})
    rates = [_rate(settings, step) for step in range(100)]
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) <= 1
    assert rates[-1] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))


def test_two_processes_average_their_gradients(tmp_path: Path) -> None:
    """Under torchrun both ranks end alike, and like one process that takes the same samples in one batch."""
    here = Path(__file__).parent
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0"]
    command += ["--standalone", str(here / "two_processes.py"), str(tmp_path)]
    paths = os.pathsep.join([str(here), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second

    both = train(Line(ranks=2), tmp_path / "one", SETTINGS)
    assert torch.allclose(torch.tensor(first), numbers(both.network), atol=1e-6)
