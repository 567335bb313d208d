"""MANTIS: T2 from undersampled k-space, a network trained on labels and on k-space.

Source: Liu 2019; Zhu 2023, Eq. 11.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from fastqmri.core import MultiEchoSpinEcho
from fastqmri.learning.kspace_recipe import KSpaceRecipe, Study
from fastqmri.learning.losses import Balanced, label_loss
from fastqmri.learning.networks.map_correction import relative_misfit, synthesised
from fastqmri.learning.recipe import TrainingSettings
from fastqmri.learning.simulation import KSpaceBatch
from fastqmri.physics.signal import ExponentialDecay

ECHO_TIMES = (0.007, 0.016, 0.025, 0.034, 0.043, 0.052, 0.062, 0.071)

T2_STUDY = Study(
    ExponentialDecay(MultiEchoSpinEcho(echo_time=ECHO_TIMES)),
    sampling="lines",
    accelerations=(4.0, 5.0, 6.0, 7.0, 8.0, 9.0),
    judged=(5.0, 8.0),
    limits=(0.004, 0.6),
    knee=0.3,
)


@final
class MantisT2(KSpaceRecipe):
    """Eq. 11: errors of both maps, and k-space consistency with weight λ, each over its first value.

    Args:
        data_weight: λ.
        fixed_mask: one set of masks for all of the training, for comparison.
    """

    name = "mantis-t2"
    title = "MANTIS: T2 and M0 from 8 undersampled echoes"
    settings = TrainingSettings(steps=1500, batch=4, learning_rate=1.5e-3, validate_every=100)
    quantities = ("M0", "T2")
    data = "Textured ellipses, slices of digital brains (brainweb-04, mni152); masks, coils, noise fresh each step."
    study = T2_STUDY

    def __init__(self, data_weight: float = 0.1, fixed_mask: bool = False) -> None:
        super().__init__()
        self.fixed_mask = fixed_mask
        self.balance = Balanced({"T2": 1.0, "M0": 0.5, "data": data_weight})
        self.state.add_module("balance", self.balance)

    def loss(self, network: nn.Module, batch: KSpaceBatch, share: float) -> dict[str, Tensor]:
        """Terms ``T2``, ``M0`` and ``data``."""
        features = self.maker(batch)
        amplitude, value = network(features)
        images = synthesised(self.study.model, amplitude, value, features, batch.known)
        unit = features.scale.view(-1, *(1,) * (value.ndim - 1))
        # phantoms have no phase of their own
        true_amplitude = batch.x[:, 0] / unit * features.phase.conj()
        true_value = self.linear(batch.x[:, 1].clamp_max(self.study.limits[1]))
        one = torch.ones(1)
        return self.balance(
            {
                "T2": label_loss(self.linear(value)[:, None], true_value[:, None], one, batch.mask),
                "M0": label_loss(amplitude[:, None], true_amplitude[:, None], one),
                "data": relative_misfit(images, batch),
            }
        )

    def score(self, network: nn.Module) -> float:
        """Mean nRMSE of T2 on the tuning part, as the loss sees it."""
        total = 0.0
        for scans in self.tuning:
            _, value = network(self.maker(scans))
            truth, inside = scans.x[:, 1], scans.mask
            error = (self.linear(value) - self.linear(truth)) * inside
            size = (self.linear(truth) * inside).flatten(1).norm(dim=1)
            total += float((error.flatten(1).norm(dim=1) / size).mean()) / len(self.tuning)
        return total
