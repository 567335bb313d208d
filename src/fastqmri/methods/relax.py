"""RELAX: T2 or T1 from undersampled k-space, a network trained without labels.

Source: Liu 2021; Zhu 2023, Eq. 12. Held-out samples, which keep the network from explaining noise and aliasing, after
Yaman 2020; the weights of samples undo the density of the sampling, as we chose.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastqmri.core import VariableFlipAngle
from fastqmri.learning.kspace_recipe import KSpaceRecipe, Study
from fastqmri.learning.losses import Balanced
from fastqmri.learning.networks.map_correction import relative_misfit, synthesised, variation
from fastqmri.learning.recipe import TrainingSettings
from fastqmri.learning.sampling import divided
from fastqmri.learning.simulation import KSpaceBatch, Scans
from fastqmri.methods.mantis import T2_STUDY
from fastqmri.physics.signal import SpoiledGradientEcho

FLIP_ANGLES = tuple(math.radians(angle) for angle in (3, 5, 8, 11, 15, 20))

T1_STUDY = Study(
    SpoiledGradientEcho(VariableFlipAngle(flip_angle=FLIP_ANGLES, repetition_time=0.0052)),
    sampling="poisson-disc",
    accelerations=(3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0),
    judged=(5.0, 7.0),
    limits=(0.05, 6.0),
    knee=4.0,
)
_UNSEEN = 4.0
"""Weight of samples that the network did not see, relative to those it did."""
_LEAST_DENSITY = 0.08
_NEIGHBOURS = 5


class Relax(KSpaceRecipe):
    """Eq. 12: k-space consistency of all samples, of which the network sees a part, and total variation.

    Args:
        tv: weight of the total variation over that of the data, for images of unit scale and unit noise.
        held_out: share of the samples that the network does not see.
    """

    def __init__(self, tv: float = 0.5, held_out: float = 0.3) -> None:
        super().__init__()
        self.tv, self.held_out = tv, held_out
        self.balance = Balanced({"data": 1.0})
        self.state.add_module("balance", self.balance)

    def loss(self, network: nn.Module, batch: KSpaceBatch, share: float) -> dict[str, Tensor]:
        """Terms ``data`` and ``tv``; labels are not read."""
        generator = torch.Generator().manual_seed(int(batch.kspace[0].real.abs().sum() * 1e6) % 2**31)
        seen = divided(batch.sampling, self.held_out, generator)
        images, amplitude, value, noise = self._mapped(network, batch, seen)
        misfit = relative_misfit(images, batch, sample_weights(batch.sampling, seen))
        out = self.balance({"data": misfit})
        if self.tv:
            size = (out["data"] / misfit).detach()
            out["tv"] = self.tv * size * variation(amplitude, value, self.study.knee, noise)
        return out

    def score(self, network: nn.Module) -> float:
        """Relative residual of samples that the network does not see, tuning part; labels are not read."""
        total = 0.0
        for i, scans in enumerate(self.tuning):
            seen = divided(scans.sampling, self.held_out, torch.Generator().manual_seed(i))
            weights = sample_weights(scans.sampling, seen) * (scans.sampling & ~seen)
            images = self._mapped(network, scans, seen)[0]
            total += float(relative_misfit(images, scans, weights)) / len(self.tuning)
        return total

    def _mapped(
        self, network: nn.Module, scans: Scans, seen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images, amplitude, value and noise that the network finds in some of the samples."""
        features = self.maker(scans.kept(seen))
        amplitude, value = network(features)
        images = synthesised(self.study.model, amplitude, value, features, scans.known)
        return images, amplitude, value, features.noise


@final
class RelaxT2(Relax):
    """T2 of eight echoes."""

    name = "relax-t2"
    title = "RELAX: T2 and M0 from 8 undersampled echoes, trained without labels"
    settings = TrainingSettings(steps=500, batch=4, learning_rate=1.5e-3, validate_every=65)
    quantities = ("M0", "T2")
    data = "k-space alone of textured ellipses and digital brains (brainweb-04, mni152), fresh each step; no labels."
    study = T2_STUDY


@final
class RelaxT1(Relax):
    """T1 of six flip angles."""

    name = "relax-t1"
    title = "RELAX: T1 and M0 from 6 undersampled flip angles, trained without labels"
    settings = TrainingSettings(steps=400, batch=4, learning_rate=1.5e-3, validate_every=45)
    quantities = ("M0", "T1")
    data = "k-space alone of textured ellipses and digital brains (brainweb-04, mni152), fresh each step; no labels."
    study = T1_STUDY


def sample_weights(mask: Tensor, seen: Tensor) -> Tensor:
    """Weight of every sample: one over the local density of the mask, of mean one, and more for what was not seen.

    Args:
        mask: (slice, contrast, *voxels) bool; axes of length 1 count for all.
        seen: the part that the network takes.
    """
    density = mask.float().mean(1, keepdim=True)
    window = [min(_NEIGHBOURS, side) if side > 1 else 1 for side in mask.shape[2:]]
    pad = tuple(w // 2 for w in window)
    smooth = functional.avg_pool2d(density, window, 1, pad, count_include_pad=False)
    weights = mask / torch.maximum(smooth, density).clamp_min(_LEAST_DENSITY)
    weights = weights * torch.where(seen, 1.0, _UNSEEN)
    mean = weights.flatten(1).sum(1) / mask.float().flatten(1).sum(1)
    return weights / mean.view(-1, *(1,) * (mask.ndim - 1))
