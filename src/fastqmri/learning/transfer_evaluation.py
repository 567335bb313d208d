"""Networks of magnetisation transfer beside least squares and the Cramér-Rao bound, on a brain never trained on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from fastqmri.core import Acquisition, Estimator, Measurement, ParameterMaps, Progress
from fastqmri.estimators.cramer_rao import cramer_rao_bound
from fastqmri.estimators.least_squares import least_squares
from fastqmri.learning.cards import Card
from fastqmri.learning.evaluation import SHIFT, Result, relative_error
from fastqmri.learning.transfer_samples import MAPS, Fields, TransferSlices, lone_voxels, transfer_slices
from fastqmri.physics.signal import SignalModel

_SIDE = 48


class Judged(Protocol):
    """What the evaluation asks of a recipe."""

    name: ClassVar[Any]
    fields: ClassVar[Any]
    usual_noise: ClassVar[Any]
    most_noise: ClassVar[Any]
    finished: ClassVar[Any]
    picked: ClassVar[Any]

    @property
    def model(self) -> SignalModel:
        """Of the measured images."""
        ...

    @property
    def evaluated_model(self) -> SignalModel:
        """Of the images that are drawn."""
        ...

    def build(self, network: nn.Module, card: Card, **options: Any) -> Estimator:
        """What maps with the network."""
        ...


@dataclass(frozen=True)
class Case:
    """Something to map.

    Attributes:
        name: of the case.
        noise: standard deviation.
        images: (contrast, x, y) with it.
        truth: name -> (x, y).
        mask: (x, y) bool, to be mapped.
        counted: (x, y) bool, to be judged.
    """

    name: str
    noise: float
    images: Tensor
    truth: dict[str, Tensor]
    mask: Tensor
    counted: Tensor

    def measurement(
        self, acquisition: Acquisition, picked: tuple[int, ...], known: tuple[str, ...]
    ) -> Measurement:
        """The images that ``picked`` chooses (all if empty)."""
        data = self.images[list(picked)] if picked else self.images
        maps = {name: self.truth[name] for name in known}
        return Measurement(data, acquisition, mask=self.mask, known=maps, noise=self.noise)


def cases(model: SignalModel, recipe: Judged, folder: Path | None, seed: int) -> Iterator[Case]:
    """The held-out brain, and what a network may not expect.

    Args:
        model: that makes the images.
        recipe: to be judged.
        folder: of the subjects.
        seed: of everything, from 1000 on.
    """

    def brain(fields: Fields, lesions: int = 0) -> TransferSlices:
        generator = torch.Generator().manual_seed(seed)
        return transfer_slices(
            model,
            "held-out",
            5 if lesions else 1,
            generator=generator,
            data=folder,
            odd=(0.0,),
            lesions=lesions,
            fields=fields,
        )

    def case(name: str, noise: float, slices: TransferSlices, counted: Tensor | None = None) -> Case:
        # the last slice is the one with lesions
        images, maps, mask = slices.images[-1], slices.maps[-1], slices.mask[-1]
        generator = torch.Generator().manual_seed(seed + 1)
        noisy = (images + noise * torch.randn(images.shape, generator=generator)) * mask
        truth = dict(zip(MAPS, maps, strict=True))
        truth["kr"] = truth["kf"] / truth["F"].clamp_min(1e-9)
        return Case(name, noise, noisy, truth, mask, mask if counted is None else counted)

    usual, fields = recipe.usual_noise, recipe.fields
    plain = brain(fields)
    yield case(f"brain, noise {usual:g}", usual, plain)
    yield case(f"brain, noise {recipe.most_noise:g}", recipe.most_noise, plain)
    yield case("brain, no noise", 1e-6, plain)
    hurt = brain(fields, 80)
    yield case(f"{SHIFT}lesions, noise {usual:g}", usual, hurt, hurt.lesions[-1])
    weaker = {**fields, "B1": (0.9 * fields["B1"][0], 0.9 * fields["B1"][1])}
    yield case(f"{SHIFT}B1 10 % lower, noise {usual:g}", usual, brain(weaker))
    generator = torch.Generator().manual_seed(seed)
    images, maps = lone_voxels(model, _SIDE**2, generator=generator, odd=1.0, fields=fields)
    square = (_SIDE, _SIDE)
    every = torch.ones(1, *square, dtype=torch.bool)
    lone = TransferSlices(images.view(1, -1, *square), maps.view(1, -1, *square), every, ~every)
    yield case(f"{SHIFT}independent parameters, noise {usual:g}", usual, lone)


def evaluate_transfer(
    recipe: Judged,
    network: nn.Module,
    card: Card,
    folder: Path | None,
    *,
    seeds: int = 3,
    progress: Progress | None = None,
) -> list[Result]:
    """Errors of F and kf, their correlation with the truth, and the time a voxel takes on this machine.

    Args:
        recipe: of the network.
        network: trained.
        card: of it.
        folder: of the subjects.
        seeds: phantoms, each with its noise.
        progress: called with (done, in all).
    """
    model = recipe.model
    known = tuple(p.name for p in model.parameters if p.nominal is not None and p.name != "M0")
    methods: dict[str, Estimator] = {recipe.name: recipe.build(network, card)}
    for label, options in recipe.finished.items():
        methods[f"{recipe.name}, {label}"] = recipe.build(network, card, **options)
    images = model.acquisition.contrasts
    methods[f"nlls, {images} images"] = least_squares(model)
    found: dict[tuple[str, str], list[dict[tuple[str, str, str], float]]] = {}
    for seed in range(seeds):
        for case in cases(recipe.evaluated_model, recipe, folder, 1000 + 10 * seed):
            measurement = case.measurement(model.acquisition, recipe.picked, known)
            for name, estimator in methods.items():
                begin = time.perf_counter()
                maps = estimator.estimate(measurement)
                spent = 1e6 * (time.perf_counter() - begin) / int(case.mask.sum())
                row = _numbers(maps, case)
                row[("time", "per voxel", "us")] = spent
                found.setdefault((case.name, name), []).append(row)
            found.setdefault((case.name, f"Cramér-Rao bound, {images} images"), []).append(
                _bound(model, case)
            )
        if progress:
            progress(seed + 1, seeds)
    return [
        Result.over(case, method, *key, [row[key] for row in rows])
        for (case, method), rows in found.items()
        for key in rows[0]
    ]


def _numbers(maps: ParameterMaps, case: Case) -> dict[tuple[str, str, str], float]:
    row = {}
    for name in ("F", "kf"):
        x, truth = maps[name].value.double(), case.truth[name].double()
        here = case.counted
        error = (x - truth)[here].nan_to_num()
        row[(name, "nRMSE", "%")] = relative_error(x, truth, here)
        row[(name, "RMSE/mean", "%")] = 100 * float(error.square().mean().sqrt() / truth[here].mean())
        both = torch.stack([x[here].nan_to_num(), truth[here]])
        row[(name, "r", "")] = float(torch.corrcoef(both)[0, 1])
    return row


def _bound(model: SignalModel, case: Case) -> dict[tuple[str, str, str], float]:
    here = case.counted
    held = {"M0": torch.ones_like(case.truth["F"]), **case.truth}
    x = torch.stack([held[p.name][here].double() for p in model.parameters])
    names, bound = cramer_rao_bound(model, x, case.noise)
    row = {}
    for name in ("F", "kf"):
        # nothing to be known of an empty pool's exchange
        root = bound[names.index(name)].nan_to_num(0.0, 0.0).square().mean().sqrt()
        truth = held[name][here].double()
        row[(name, "nRMSE", "%")] = 100 * float(root / truth.square().mean().sqrt())
        row[(name, "RMSE/mean", "%")] = 100 * float(root / truth.mean())
    return row
