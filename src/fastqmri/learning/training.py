"""Training: checkpoints that survive a kill, the same result for the same seed, as many processes as there are."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fastqmri.core import FileError, PlausibilityError, Progress
from fastqmri.io import atomic
from fastqmri.learning.cards import Card, Finishing
from fastqmri.learning.evaluation import Result, expected_errors
from fastqmri.learning.recipe import Recipe, TrainingSettings

CHECKPOINT = "checkpoint.pt"
_SAVE_EVERY = 60.0
"""Seconds of work that a kill may cost, at most."""


@dataclass
class Trained:
    """What a training ends with, and what a checkpoint holds of it.

    Attributes:
        network: with the numbers that scored best.
        history: step, score and mean terms of the loss since the score before.
        seconds: of training and scoring, over all runs that took part.
        stopped: after which step; earlier than asked for where the score no longer improved.
    """

    network: nn.Module
    history: list[dict[str, float]]
    seconds: float
    stopped: int


def train(
    recipe: Recipe,
    folder: Path,
    settings: TrainingSettings | None = None,
    *,
    resume: bool = False,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    scored: Callable[[Mapping[str, float]], None] | None = None,
) -> Trained:
    """Train a recipe's network.

    Step n draws its samples by a generator that the seed and n decide, so a training that was killed and resumed ends
    with the same bytes as one that was not. Under ``torchrun`` every process draws its share of the batch and the
    gradients are averaged.

    Args:
        recipe: what to train.
        folder: for the checkpoint.
        settings: the recipe's own if None.
        resume: go on from the checkpoint in the folder, if there is one.
        device: of the network.
        progress: called with (step, steps).
        scored: called with every new row of the history.

    Raises:
        FileError: a checkpoint of another recipe or other settings, or one that can't be read.
        PlausibilityError: a batch that can't be shared by the processes evenly.
    """
    settings = settings or recipe.settings
    rank, size = _process()
    if settings.batch % size:
        raise PlausibilityError(
            f"a batch of {settings.batch} for {size} processes",
            "every process takes the same share.",
            f"Choose a batch that {size} divides.",
        )
    device = torch.device(device)
    with _seeded(settings.seed):
        network = recipe.network().to(device)
    recipe.state.to(device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(settings, step))
    run = _Run(recipe.name, settings, network, recipe.state, optimiser, schedule)
    path = folder / CHECKPOINT
    if resume and path.exists():
        run.load(path, device)
    saved = begin = time.perf_counter()
    before = run.seconds
    while run.step < settings.steps and not run.finished:
        network.train()
        generator = _generator(settings.seed, run.step, rank)
        batch = _moved(recipe.draw(generator, settings.batch // size), device)
        # dropout draws from the global generator
        with _seeded(generator.initial_seed()), _precision(settings, device):
            terms = recipe.loss(network, batch, run.step / settings.steps)
        total = sum(terms.values(), torch.zeros((), device=device))
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        _share_gradients(network, size)
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
        optimiser.step()
        schedule.step()
        run.step += 1
        run.add({"loss": total, **terms})
        last = run.step == settings.steps
        if last or run.step % settings.validate_every == 0:
            run.judge(_score(recipe, network, size))
            if scored:
                scored(run.history[-1])
        run.seconds = before + time.perf_counter() - begin
        if rank == 0 and (last or run.finished or run.fresh or time.perf_counter() - saved > _SAVE_EVERY):
            run.save(path)
            saved = time.perf_counter()
        if progress:
            progress(run.step, settings.steps)
    network.load_state_dict(run.best)
    return Trained(network.eval(), run.history, run.seconds, run.step)


def make_card(
    recipe: Recipe,
    trained: Trained,
    settings: TrainingSettings,
    *,
    method: str,
    command: str,
    sha256: str,
    classical: str,
    references: tuple[str, ...] = (),
    finishing: Finishing | None = None,
    results: list[Result] | None = None,
    notes: tuple[str, ...] = (),
) -> Card:
    """The card of freshly trained weights.

    Args:
        recipe: that was trained.
        trained: its end.
        settings: it was trained with.
        method: published method that it belongs to.
        command: that trains it again.
        sha256: of the weights file.
        classical: what to use outside the network's range.
        references: bibliography keys.
        finishing: least-squares steps after the network.
        results: of `Recipe.evaluate`.
        notes: what else a user should know.
    """
    from fastqmri import __version__

    results = results or []
    return Card(
        name=recipe.name,
        method=method,
        title=recipe.title,
        data=recipe.data,
        settings=settings.model_dump(),
        command=command,
        seconds=round(trained.seconds, 1),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} thread(s)",
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "fastqmri": __version__,
        },
        parameters=sum(p.numel() for p in trained.network.parameters()),
        sha256=sha256,
        validity=recipe.validity(),
        classical=classical,
        expected_error=expected_errors(results, recipe.name),
        finishing=finishing,
        references=references,
        results=tuple(results),
        notes=notes,
    )


class _Run:
    """A training under way."""

    def __init__(
        self,
        name: str,
        settings: TrainingSettings,
        network: nn.Module,
        state: nn.Module,
        optimiser: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        self.name, self.settings = name, settings
        self.network, self.state, self.optimiser, self.schedule = network, state, optimiser, schedule
        self.step, self.seconds, self.stale = 0, 0.0, 0
        self.best_score = math.inf
        self.best = _copied(network)
        self.history: list[dict[str, float]] = []
        self.sums: dict[str, float] = {}
        self.fresh = False

    @property
    def finished(self) -> bool:
        """Whether the score has not improved for too long."""
        return self.settings.patience is not None and self.stale >= self.settings.patience

    def add(self, terms: dict[str, Tensor]) -> None:
        """Keep the terms of a step for the history."""
        self.fresh = False
        for name, term in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(term.detach())
        self.sums["steps"] = self.sums.get("steps", 0.0) + 1

    def judge(self, score: float) -> None:
        """Take a score into account."""
        steps = self.sums.pop("steps")
        means = {name: value / steps for name, value in self.sums.items()}
        self.history.append({"step": float(self.step), "score": score, **means})
        self.sums, self.fresh = {}, True
        if score < self.best_score or not math.isfinite(self.best_score):
            self.best_score, self.best, self.stale = score, _copied(self.network), 0
        else:
            self.stale += 1

    def save(self, path: Path) -> None:
        """Write all that going on needs."""
        content = {
            "name": self.name,
            "settings": self.settings.model_dump(),
            "network": self.network.state_dict(),
            "state": self.state.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": {"last_epoch": self.schedule.last_epoch},
            "best": self.best,
            **{
                key: getattr(self, key)
                for key in ("step", "seconds", "stale", "best_score", "history", "sums")
            },
        }
        with atomic(path) as temporary:
            torch.save(content, temporary)

    def load(self, path: Path, device: torch.device) -> None:
        """Go on where a checkpoint ended."""
        try:
            content = torch.load(path, map_location=device, weights_only=True)
            name, settings = content["name"], content["settings"]
        except Exception as error:
            raise FileError(
                f"{path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                "it is no checkpoint of a training.",
                "Remove it to train from the start.",
            ) from error
        wanted = self.settings.model_dump()
        different = [key for key in wanted if settings.get(key) != wanted[key]]
        if name != self.name or different:
            told = (
                f"of {name}" if name != self.name else f"with other settings ({', '.join(sorted(different))})"
            )
            raise FileError(
                f"{path}: a checkpoint {told}",
                "its training can't be gone on with under these.",
                "Use the same settings, another folder, or leave --resume out to train from the start.",
            )
        self.network.load_state_dict(content["network"])
        self.state.load_state_dict(content["state"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.schedule.last_epoch = content["schedule"]["last_epoch"]
        self.best = content["best"]
        for key in ("step", "seconds", "stale", "best_score", "history", "sums"):
            setattr(self, key, content[key])


def _rate(settings: TrainingSettings, step: int) -> float:
    """Factor of the learning rate."""
    warm = settings.warm_up * settings.steps
    if step < warm:
        return (step + 1) / (warm + 1)
    if settings.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(settings.steps - warm, 1)))


def _generator(seed: int, step: int, rank: int) -> torch.Generator:
    """Its draws depend on all three, and on nothing else."""
    mixed = (seed * 1_000_003 + step) * 1_000_003 + rank
    return torch.Generator().manual_seed(mixed % (2**63))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """PyTorch's global generator, which makes first weights and dropout, seeded and afterwards as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _precision(settings: TrainingSettings, device: torch.device) -> torch.autocast:
    enabled = settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def _score(recipe: Recipe, network: nn.Module, size: int) -> float:
    if size > 1:  # running means of batches differ between processes
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, 0)
    network.eval()
    with torch.no_grad():
        value = torch.tensor(recipe.score(network), dtype=torch.float64)
    if size > 1:
        device = next(network.parameters()).device
        value = value.to(device)
        torch.distributed.broadcast(value, 0)
    return float(value)


def _process() -> tuple[int, int]:
    """Rank and number of processes."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _share_gradients(network: nn.Module, size: int) -> None:
    """Replace every gradient by its mean over the processes."""
    if size == 1:
        return
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    torch.distributed.all_reduce(flat)
    flat /= size
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


def _moved(batch: Any, device: torch.device) -> Any:
    """All tensors of a batch on a device."""
    if device.type == "cpu":
        return batch
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {key: _moved(value, device) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return type(batch)(_moved(value, device) for value in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        fields = {f.name: _moved(getattr(batch, f.name), device) for f in dataclasses.fields(batch)}
        return dataclasses.replace(batch, **fields)
    return batch
