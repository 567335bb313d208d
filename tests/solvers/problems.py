"""Noisy fits of every registered model, as solvers see them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.physics.signal import SignalModel
from physics.checks import Case


@dataclass(frozen=True)
class Problem:
    """Noisy signals of one model with known truth.

    Attributes:
        model: with its polarity, where its images are magnitudes.
        truth: (parameter, voxel).
        data: (contrast, voxel).
        known: maps of the parameters that are not estimated.
    """

    model: SignalModel
    truth: Tensor
    data: Tensor
    known: dict[str, Tensor]

    @property
    def free(self) -> list[int]:
        """Indices of the estimated parameters."""
        return list(self.model.estimated)

    @property
    def estimated(self) -> Tensor:
        """Truth of the estimated parameters."""
        return self.truth[self.free]

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds of the estimated parameters, (unknown, 1)."""
        lower, upper = self.model.bounds(self.truth)
        return lower[self.free], upper[self.free]

    def evaluate(self, x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian of the estimated parameters, for the general solver."""
        known = {name: value[active] for name, value in self.known.items()}
        signal, jacobian = self.model.evaluate(self.model.complete(x, known))
        return signal, jacobian[:, self.free]


def problem(case: Case, voxels: int, snr: float, generator: torch.Generator) -> Problem:
    """Tissue from the priors, Gaussian noise of peak signal / ``snr`` in every channel."""
    model = case.build()
    model = model.signed() or model
    truth = case.tissue(generator, (voxels,))
    signal = model(truth)
    noise = torch.randn(signal.shape, dtype=torch.float64, generator=generator)
    if signal.is_complex():
        noise = noise + 1j * torch.randn(signal.shape, dtype=torch.float64, generator=generator)
    known = {p.name: row for p, row in zip(model.parameters, truth, strict=True) if p.nominal is not None}
    return Problem(model, truth, signal + noise * signal.abs().amax(0) / snr, known)
