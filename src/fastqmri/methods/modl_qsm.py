"""MoDL-QSM: susceptibility along B0 and the field of off-diagonal components from one orientation (type 4)."""

from __future__ import annotations

import functools
import math
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from fastqmri.core import Progress
from fastqmri.estimators.susceptibility import Inversion, LocalField
from fastqmri.learning.cards import Card
from fastqmri.learning.dipole_inversion import LearnedInversion, nearest_axis
from fastqmri.learning.evaluation import Result
from fastqmri.learning.fields import RADIANS_PER_PPM, FieldBatch, FieldPool, FieldRanges
from fastqmri.learning.inversion_results import fields_of, inversion_cases, inversion_results, tuned
from fastqmri.learning.networks.dipole import UnrolledDipole
from fastqmri.learning.recipe import Recipe, TrainingSettings
from fastqmri.learning.validity import Judgement, Validity, in_range, refuse_outside

_AXES = (-3, -2, -1)
_FIRST_SEED = 1_000_000
_TUNING = range(100, 106)
_RANGES = FieldRanges()
_HELD_OUT, _PHANTOMS = 1000, 10
_LOWEST_SNR = 20.0
"""Half of the lowest it was trained with; its error is about that of total variation there, not above."""
_LARGEST = 0.5
"""ppm from the mean; of the few calcifications it was trained with it has learned little."""
_REFERENCES = ("feng2021",)
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
        seed=1, steps=1200, batch=1, learning_rate=1e-3, validate_every=200, precision="bfloat16"
    )
    quantities: ClassVar[tuple[str, ...]] = ("Chi", "off_diagonal_field")
    data: ClassVar[str] = (
        "250 drawn phantoms of 40 voxels a side (ellipsoids, folds, heads, fibres with anisotropic susceptibility), "
        "mirrored and with x and y exchanged; no scans"
    )

    def __init__(
        self,
        *,
        rest: bool = True,
        phantoms: int = 250,
        warm: bool = True,
        ranges: FieldRanges = _RANGES,
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

    def validity(self) -> Validity:
        """SNR is that of an echo at 3 T and 20 ms with the same noise of the field, and as low as was tried."""
        return Validity(
            tissue={"Chi": (-_LARGEST, _LARGEST)},
            snr=(_LOWEST_SNR, self.ranges.snr[1]),
            known={"tilt of B0": self.ranges.tilt, "ratio of voxel edges": self.ranges.stretch},
        )

    def evaluate(
        self, network: nn.Module, card: Card, *, seeds: int = 3, progress: Progress | None = None
    ) -> list[Result]:
        """Ten held-out phantoms of 48 voxels a side beside tuned inversions, then ``seeds`` of every other case."""
        own = Inversion(self.name, self.title, _REFERENCES, self._method(network, card, check=False))
        methods = {**tuned(self.ranges, _TUNING), self.name: own}
        cases = inversion_cases(self.ranges)
        results = []
        for done, (case, ranges) in enumerate(cases.items()):
            count = _PHANTOMS if done == 0 else seeds
            drawn = [fields_of(seed, ranges) for seed in range(_HELD_OUT, _HELD_OUT + count)]
            results += inversion_results(case, methods, drawn)
            if progress:
                progress(done + 1, len(cases))
        return results

    def build(self, network: nn.Module, card: Card, **options: Any) -> Inversion:
        """The dipole inversion with a trained network; ``finishing`` overrides what the card does by default."""
        return Inversion(
            self.name,
            "network between gradient steps; tells the off-diagonal field apart, for what its card covers",
            _REFERENCES,
            self._method(network, card, check=True, **options),
        )

    def _method(
        self, network: nn.Module, card: Card, *, check: bool, finishing: int | None = None
    ) -> LearnedInversion:
        assert isinstance(network, UnrolledDipole)
        own = card.finishing.steps if card.finishing and card.finishing.default else 0

        def judged(local: LocalField) -> tuple[str, ...]:
            return refuse_outside(self.name, _judgement(local, card.validity), "--method tv") if check else ()

        largest = card.validity.tissue["Chi"][1]
        steps = own if finishing is None else finishing
        return LearnedInversion(network, judged, largest, card.sha256, finishing=steps, **self._start)


def _judgement(local: LocalField, validity: Validity) -> Judgement:
    """A field held against the card; its noise only where it was told, since what is found in it is too high."""
    along = abs(local.directions[0][nearest_axis(local)])
    size = local.voxel_size
    numbers = {
        "tilt of B0": math.acos(min(1.0, along)),
        "ratio of voxel edges": max(size) / min(size),
    }
    found = Judgement()
    for name, value in numbers.items():
        found += in_range(name, value, validity.known[name])
    if local.known_noise:
        found += in_range("snr", 1 / (local.known_noise * RADIANS_PER_PPM), validity.snr)
    return found


def _errors(found: Tensor, batch: FieldBatch, rest: bool) -> dict[str, Tensor]:
    mask = batch.given.mask
    count = mask.sum(_AXES, keepdim=True)

    def demeaned(x: Tensor) -> Tensor:
        return (x - (x * mask).sum(_AXES, keepdim=True) / count) * mask

    error, truth = demeaned(found[:, 0] - batch.chi33), demeaned(batch.chi33)
    terms = {
        "chi": (_size(error) / _size(truth)).mean(),
        "edges": 0.5 * (_slope(error) / _slope(batch.chi33)).mean(),
    }
    if rest:
        scale = (_size(batch.rest).square() + count.flatten() * _QUIET**2).sqrt()
        terms["rest"] = 0.5 * (_size((found[:, 1] - batch.rest) * mask) / scale).mean()
    return terms


def _size(x: Tensor) -> Tensor:
    return x.square().sum(_AXES).sqrt()


def _slope(x: Tensor) -> Tensor:
    return sum((_size(x.diff(dim=axis)).square() for axis in _AXES), torch.zeros(())).sqrt()
