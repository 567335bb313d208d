"""Recipes of networks that map undersampled k-space: what MANTIS and RELAX share."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from fastqmri.core import Estimator, Progress
from fastqmri.learning.cards import Card
from fastqmri.learning.evaluation import Result
from fastqmri.learning.kspace_evaluation import kspace_results
from fastqmri.learning.kspace_features import FeatureMaker
from fastqmri.learning.kspace_maps import KSpaceMaps
from fastqmri.learning.networks.map_correction import MapCorrection, saturating
from fastqmri.learning.networks.unet import UNet
from fastqmri.learning.pools import PhantomPool
from fastqmri.learning.recipe import Recipe
from fastqmri.learning.sampling import CoilBank, FixedMasks, MaskBank, Sampler, VariableDensityLines
from fastqmri.learning.simulation import KSpaceBatch, KSpaceDraws, lines_last
from fastqmri.learning.validity import Validity, described
from fastqmri.physics.signal import SignalModel

VOXELS = (64, 64)
COILS = 4
WIDTHS = (32, 48, 64, 96)
SNR = (20.0, 100.0)
_SCORED = 12
_MASKS = 16
"""Poisson discs for each acceleration: throwing darts takes longer than a network's step."""
_VARIATION = 0.2


@dataclass(frozen=True)
class Study:
    """What is measured, and how.

    Attributes:
        model: A.
        sampling: ``lines``, variable density, or ``poisson-disc`` in both axes.
        accelerations: trained R.
        judged: R of the tables.
        limits: of the second parameter, s.
        knee: s; up to about there the loss is linear in the parameter.
    """

    model: SignalModel
    sampling: Literal["lines", "poisson-disc"]
    accelerations: tuple[float, ...]
    judged: tuple[float, float]
    limits: tuple[float, float]
    knee: float


class KSpaceRecipe(Recipe):
    """A U-Net that corrects the classical fit of a few subspace iterations, `MapCorrection`.

    Attributes:
        study: what is measured.
        ellipses: phantoms of the pool.
        brains: slices of the pool; 0 needs no data.
        steps: fine-tuning steps for each scan, unless asked otherwise.
        finish: steps of Gauss-Newton on the maps, unless asked otherwise.
    """

    study: ClassVar[Study]
    ellipses: int = 450
    brains: int = 150
    steps: ClassVar[int] = 0
    finish: ClassVar[int] = 6
    fixed_mask: bool = False

    @cached_property
    def maker(self) -> FeatureMaker:
        """Of the features."""
        return FeatureMaker(self.study.model, self.study.limits)

    @cached_property
    def coils(self) -> CoilBank:
        """Receive coils of all draws."""
        return CoilBank.of(VOXELS, (COILS,), generator=torch.Generator().manual_seed(0))

    def pool(self, split: str, ellipses: int, brains: int) -> PhantomPool:
        """Sharp ellipses and slices of brains of a part of the split; without brains, ellipses alone."""
        generator = torch.Generator().manual_seed(0)
        names = tuple(p.name for p in self.study.model.parameters)
        sharp = PhantomPool.of(
            split,
            VOXELS,
            ellipses=ellipses,
            generator=generator,
            names=names,
            supersampling=1,
            variation=_VARIATION,
        )
        if not brains:
            return sharp
        data = os.environ.get("FASTQMRI_TEST_DATA")
        heads = PhantomPool.of(
            split, VOXELS, brains=brains, generator=generator, names=names, data=data, variation=_VARIATION
        )
        return heads.joined(sharp)

    def sampler(self, accelerations: tuple[float, ...]) -> Sampler:
        """Masks, other ones for every contrast and scan."""
        if self.study.sampling == "lines":
            return VariableDensityLines(accelerations)
        generator = torch.Generator().manual_seed(0)
        return MaskBank.poisson(VOXELS, accelerations, generator=generator, masks=_MASKS)

    @cached_property
    def training(self) -> KSpaceDraws:
        """Scans to train on."""
        rates, model = self.study.accelerations, self.study.model
        sampler = self.sampler(rates)
        if self.fixed_mask:
            middle = self.sampler((rates[len(rates) // 2],))
            generator = torch.Generator().manual_seed(0)
            sampler = FixedMasks(middle.draw(1, model.acquisition.contrasts, VOXELS, generator)[0][0])
        pool = self.pool("training", self.ellipses, self.brains)
        return KSpaceDraws(pool, model, sampler, self.coils, SNR)

    @cached_property
    def tuning(self) -> list[KSpaceBatch]:
        """The same scans of the tuning part at every score."""
        pool = self.pool("tuning", 24, 8 if self.brains else 0)
        scans = []
        for i, rate in enumerate(self.study.judged):
            draws = KSpaceDraws(pool, self.study.model, self.sampler((rate,)), self.coils, (60.0, 60.0))
            scans.append(lines_last(draws.draw(_SCORED, torch.Generator().manual_seed(i))))
        return scans

    def network(self) -> MapCorrection:
        """With fresh weights."""
        return MapCorrection(UNet(self.maker.count, 3, WIDTHS), self.study.limits)

    def draw(self, generator: torch.Generator, count: int) -> KSpaceBatch:
        """Scans to train on."""
        return lines_last(self.training.draw(count, generator))

    @abstractmethod
    def loss(self, network: nn.Module, batch: KSpaceBatch, share: float) -> dict[str, Tensor]:
        """Terms of the loss."""

    def linear(self, value: Tensor) -> Tensor:
        """The second parameter as the loss sees it: linear up to the knee, saturating beyond."""
        return saturating(value, self.study.knee)

    def validity(self) -> Validity:
        """Trained ranges."""
        name = self.study.model.parameters[1].name
        return Validity(
            acquisition=described(self.study.model.acquisition),
            tissue={name: self.study.limits},
            snr=SNR,
            acceleration=(self.study.accelerations[0], self.study.accelerations[-1]),
            matrix=(float(VOXELS[0]), float(VOXELS[1])),
            coils=(COILS, COILS),
            known={p.name: (0.75, 1.25) for p in self.study.model.parameters[2:]},
        )

    def build(self, network: nn.Module, card: Card, **options: Any) -> KSpaceMaps:
        """The network as an `Estimator`.

        Args:
            network: trained.
            card: of its weights.
            **options: those of `KSpaceMaps`; ``finishing`` is its ``finish``.
        """
        assert isinstance(network, MapCorrection)
        chosen = {"steps": self.steps, "finish": options.pop("finishing", self.finish), **options}
        return KSpaceMaps(network, self.maker, card, self.study.knee, **chosen)

    def evaluate(
        self, network: nn.Module, card: Card, *, seeds: int = 3, progress: Progress | None = None
    ) -> list[Result]:
        """Errors on held-out ellipses and brains beside the classical methods."""
        return kspace_results(self.study.model, self.methods(network, card), seeds=seeds, progress=progress)

    def methods(self, network: nn.Module, card: Card) -> dict[str, Estimator]:
        """The network, and what the physics make of it."""
        return {
            self.name: self.build(network, card, steps=0, finish=0),
            f"{self.name}, finished": self.build(network, card, steps=0),
        }
