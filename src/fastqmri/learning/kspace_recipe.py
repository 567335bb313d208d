"""Recipes of networks that map undersampled k-space: what MANTIS and RELAX share."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from fastqmri.core import Estimator, Measurement, Progress
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.reconstruction import LocallyLowRank, ModelBased, TwoStep, ZeroFilled
from fastqmri.learning.cards import Card
from fastqmri.learning.evaluation import Result
from fastqmri.learning.kspace_draws import KSpaceDraw, KSpaceSource, training_pools
from fastqmri.learning.kspace_features import FeatureMaker, Features
from fastqmri.learning.kspace_maps import KSpaceMaps, relative_residual
from fastqmri.learning.networks.map_correction import MapCorrection, residual, saturating
from fastqmri.learning.networks.unet import UNet
from fastqmri.learning.recipe import Recipe
from fastqmri.learning.validity import Validity, described
from fastqmri.physics.encoding import CartesianEncoding
from fastqmri.physics.signal import SignalModel

SIDE = 64
COILS = 4
WIDTHS = (32, 48, 64, 96)
_SCORED = 12


@dataclass(frozen=True)
class Study:
    """What is measured, and how.

    Attributes:
        model: A.
        sampling: of `KSpaceSource`.
        accelerations: trained range of R.
        judged: R of the tables.
        limits: of the second parameter, s.
        knee: s; up to about there the loss is linear in the parameter.
        judged_below: s; longer ones, which these protocols can't tell, stay out of brains' errors.
    """

    model: SignalModel
    sampling: Literal["lines", "poisson-disc"]
    accelerations: tuple[float, float]
    judged: tuple[float, float]
    limits: tuple[float, float]
    knee: float
    judged_below: float


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
    brains: int = 120
    steps: ClassVar[int] = 0
    finish: ClassVar[int] = 6
    fixed_mask: bool = False

    @cached_property
    def maker(self) -> FeatureMaker:
        """Of the features."""
        return FeatureMaker(self.study.model, self.study.limits)

    def source(self, split: str, ellipses: int, brains: int, *, fixed_mask: bool = False) -> KSpaceSource:
        """Scans of a part of the split."""
        names = tuple(p.name for p in self.study.model.parameters)
        pools = training_pools(
            names,
            split=split,
            side=SIDE,
            ellipses=ellipses,
            brains=brains,
            data=os.environ.get("FASTQMRI_TEST_DATA"),
        )
        return KSpaceSource(
            self.study.model,
            pools,
            sampling=self.study.sampling,
            accelerations=self.study.accelerations,
            outside=self.study.limits[0] * 1.1,
            fixed_mask=fixed_mask,
        )

    @cached_property
    def training(self) -> KSpaceSource:
        """Scans to train on."""
        return self.source("training", self.ellipses, self.brains, fixed_mask=self.fixed_mask)

    @cached_property
    def tuning_source(self) -> KSpaceSource:
        """Scans of the tuning part."""
        return self.source("tuning", 40, 8 if self.brains else 0)

    @cached_property
    def tuning(self) -> list[KSpaceDraw]:
        """The same scans at every score."""
        return [
            self.tuning_source.draw(_SCORED, torch.Generator().manual_seed(i), snr=60, acceleration=r)
            for i, r in enumerate(self.study.judged)
        ]

    def network(self) -> MapCorrection:
        """With fresh weights."""
        return MapCorrection(UNet(self.maker.count, 3, WIDTHS), self.study.limits)

    def draw(self, generator: torch.Generator, count: int) -> KSpaceDraw:
        """Scans to train on."""
        return self.training.draw(count, generator)

    @abstractmethod
    def loss(self, network: nn.Module, batch: KSpaceDraw, share: float) -> dict[str, Tensor]:
        """Terms of the loss."""

    def linear(self, value: Tensor) -> Tensor:
        """The second parameter as the loss sees it: linear up to the knee, saturating beyond."""
        return saturating(value, self.study.knee)

    def balanced(self, terms: dict[str, Tensor], weights: dict[str, float]) -> dict[str, Tensor]:
        """Terms over their first values, times weights."""
        out = {}
        for name, weight in weights.items():
            if not hasattr(self.state, name):
                self.state.register_buffer(name, terms[name].detach().clone())
            out[name] = weight * terms[name] / getattr(self.state, name)
        return out

    def validity(self) -> Validity:
        """Trained ranges."""
        name = self.study.model.parameters[1].name
        return Validity(
            acquisition=described(self.study.model.acquisition),
            tissue={name: self.study.limits},
            snr=(20.0, 100.0),
            acceleration=self.study.accelerations,
            matrix=(SIDE, SIDE),
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
        cases = [("ellipses", 4 * seeds, 0)] + ([("brain", 0, 4 * seeds)] if self.brains else [])
        found: list[Result] = []
        for label, ellipses, brains in cases:
            for acceleration in self.study.judged:
                scans = self.judged_scans(ellipses, brains, acceleration)
                found += self.compare(
                    f"{label}, R {acceleration:g}",
                    scans,
                    self.methods(network, card),
                    self.study.judged_below if brains else None,
                )
                if progress:
                    progress(len(found), len(found))
        return found

    def judged_scans(
        self, ellipses: int, brains: int, acceleration: float, snr: float = 60.0, seed: int = 7
    ) -> KSpaceDraw:
        """Scans of objects that nothing was tuned on, each once."""
        from fastqmri.learning.pools import PhantomPool

        g = torch.Generator().manual_seed(seed)
        names = tuple(p.name for p in self.study.model.parameters)
        pool = PhantomPool.of(
            "held-out",
            (SIDE, SIDE),
            ellipses=ellipses,
            brains=brains,
            generator=g,
            names=names,
            data=os.environ.get("FASTQMRI_TEST_DATA"),
            supersampling=2 if brains else 1,
            variation=0.0,
        )
        source = KSpaceSource(
            self.study.model,
            (pool,),
            sampling=self.study.sampling,
            accelerations=self.study.accelerations,
            outside=self.study.limits[0] * 1.1,
            seed=1000 + seed,
        )
        return source.draw(ellipses + brains, g, snr=snr, acceleration=acceleration)

    def methods(self, network: nn.Module, card: Card) -> dict[str, Estimator]:
        """Classical methods, then the network."""
        model = self.study.model
        return {
            "zero-filled + fit": TwoStep(ZeroFilled(), least_squares(model)),
            "llr + fit": TwoStep(LocallyLowRank(), least_squares(model)),
            "model-based": ModelBased(model, draws=0),
            self.name: self.build(network, card, steps=0, finish=0),
            f"{self.name}, finished": self.build(network, card, steps=0),
        }

    def compare(
        self, case: str, scans: KSpaceDraw, methods: dict[str, Estimator], below: float | None = None
    ) -> list[Result]:
        """nRMSE, k-space residual and time of methods on the same scans."""
        import time

        name = self.study.model.parameters[1].name
        assert scans.labels is not None
        rows: list[Result] = []
        for label, method in methods.items():
            errors, misfits, seconds = [], [], []
            for i, measurement in enumerate(measurements(self.study.model, scans)):
                begin = time.process_time()
                maps = method.estimate(measurement)
                seconds.append(time.process_time() - begin)
                truth, inside = scans.labels[1, i], scans.labels[2, i] > 0
                if below is not None:
                    inside = inside & (truth < below)
                value = maps[name].value.nan_to_num()
                errors.append(100 * float((value - truth)[inside].norm() / truth[inside].norm()))
                misfits.append(100 * relative_residual(self.study.model, maps, measurement))
            rows.append(Result.over(case, label, name, "nRMSE", "%", errors))
            rows.append(Result.over(case, label, "k-space", "residual", "%", misfits))
            rows.append(Result.over(case, label, "time", "CPU", "s", seconds))
        return rows


def measurements(model: SignalModel, scans: KSpaceDraw) -> list[Measurement]:
    """Scans as estimators take them."""
    out = []
    for i in range(len(scans.samples)):
        encoding = CartesianEncoding(scans.sensitivities[i], scans.mask[i])
        mask = scans.labels[2, i] > 0 if scans.labels is not None else None
        known = {name: value[i] for name, value in scans.known.items()}
        out.append(
            Measurement(
                scans.samples[i],
                model.acquisition,
                mask=mask,
                known=known,
                noise=float(scans.noise[i]),
                encoding=encoding,
            )
        )
    return out


def data_misfit(
    network: nn.Module, maker: FeatureMaker, batch: KSpaceDraw, features: Features
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """||E A(x) - y||² / ||y||² of each scan, the residual, amplitude and value."""
    assert isinstance(network, MapCorrection)
    difference, amplitude, value = residual(network, maker, batch, features)
    power = batch.samples.abs().square().flatten(1).sum(1)
    return difference.abs().square().flatten(1).sum(1) / power, difference, amplitude, value
