"""MoDL-QSM: susceptibility along B0 and the field of off-diagonal components from one orientation (type 4)."""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from fastqmri.core import Progress
from fastqmri.learning.cards import Card
from fastqmri.learning.evaluation import Result
from fastqmri.learning.fields import DrawnField, FieldBatch, FieldPool, FieldRanges, draw_field, draw_phantom
from fastqmri.learning.networks.dipole import UnrolledDipole
from fastqmri.learning.recipe import Recipe, TrainingSettings
from fastqmri.learning.validity import Validity

_AXES = (-3, -2, -1)
_FIRST_SEED = 1_000_000
_TUNING = range(100, 106)
_QUIET = 4e-4
"""ppm of field that counts as none, for the relative error of the rest."""


@final
class ModlQsm(Recipe):
    """Recipe of the two-channel network; without the rest, of its one-channel twin.

    Args:
        rest: whether the network tells the field of off-diagonal components apart.
        phantoms: that are drawn before the training.
        warm: whether a few steps of total variation make the first χ; else zero, as published.
        ranges: what phantoms are drawn from.
    """

    name: ClassVar[str] = "modl-qsm"
    title: ClassVar[str] = "susceptibility along B0 and the off-diagonal field from one orientation, unrolled"
    settings: ClassVar[TrainingSettings] = TrainingSettings(
        seed=1, steps=2400, batch=2, learning_rate=1e-3, validate_every=300, precision="bfloat16"
    )
    quantities: ClassVar[tuple[str, ...]] = ("Chi", "off_diagonal_field")
    data: ClassVar[str] = (
        "400 drawn phantoms of 40 voxels a side (ellipsoids, folds, heads, fibres with anisotropic susceptibility), "
        "mirrored and with x and y exchanged; no scans"
    )

    def __init__(
        self, *, rest: bool = True, phantoms: int = 400, warm: bool = True, ranges: FieldRanges = FieldRanges()
    ) -> None:
        super().__init__()
        self.rest, self.phantoms, self.warm, self.ranges = rest, phantoms, warm, ranges

    @functools.cached_property
    def _pool(self) -> FieldPool:
        return FieldPool(range(_FIRST_SEED, _FIRST_SEED + self.phantoms), self.ranges, **self._start)

    @functools.cached_property
    def _tuning(self) -> FieldPool:
        return FieldPool(_TUNING, self.ranges, **self._start)

    @property
    def _start(self) -> dict[str, Any]:
        return {} if self.warm else {"start": None}

    def network(self) -> nn.Module:
        """Three iterations, one network of four blocks with 32 channels at half resolution for all."""
        return UnrolledDipole(rest=self.rest)

    def draw(self, generator: torch.Generator, count: int) -> FieldBatch:
        """Fields of the pool, mirrored."""
        return self._pool.draw(generator, count)

    def loss(self, network: nn.Module, batch: FieldBatch, share: float) -> dict[str, Tensor]:
        """Relative errors of χ33 without its mean, of its differences between neighbours, and of the rest."""
        return _errors(network(batch.given), batch, self.rest)

    def score(self, network: nn.Module) -> float:
        """The same on six fields of the tuning seeds."""
        network.eval()
        with torch.no_grad():
            batches = self._tuning.all()
            return sum(
                float(sum(_errors(network(one.given), one, self.rest).values())) for one in batches
            ) / len(batches)


def _errors(found: Tensor, batch: FieldBatch, rest: bool) -> dict[str, Tensor]:
    mask = batch.given.mask
    count = mask.sum(_AXES, keepdim=True)

    def demeaned(x: Tensor) -> Tensor:
        return (x - (x * mask).sum(_AXES, keepdim=True) / count) * mask

    error, truth = demeaned(found[:, 0] - batch.chi33), demeaned(batch.chi33)
    terms = {"chi": (_size(error) / _size(truth)).mean(), "edges": 0.5 * (_slope(error) / _slope(batch.chi33)).mean()}
    if rest:
        scale = (_size(batch.rest).square() + count.flatten() * _QUIET**2).sqrt()
        terms["rest"] = 0.5 * (_size((found[:, 1] - batch.rest) * mask) / scale).mean()
    return terms


def _size(x: Tensor) -> Tensor:
    return x.square().sum(_AXES).sqrt()


def _slope(x: Tensor) -> Tensor:
    return sum((_size(x.diff(dim=axis)).square() for axis in _AXES), torch.zeros(())).sqrt()
