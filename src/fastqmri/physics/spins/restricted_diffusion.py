"""Size of pores, axons and cells from pulsed gradients."""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from fastqmri.core import Parameter, PulsedGradient
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.physics.signal.model import SignalModel
from fastqmri.physics.spins.bloch_torrey import (
    GEOMETRIES,
    Geometry,
    gaussian_phase,
    pulsed_gradient,
    spectrum,
)

_STRENGTHS = (20.0, 100.0)  # γ G R³/D up to which the wave numbers but the last suffice
_HIGHEST = (16.0, 25.0, 30.0)
_GAUSSIAN_HIGHEST = 60.0
_AT_A_TIME = 2_000_000  # numbers of the matrices held at a time


@final
class RestrictedDiffusion(SignalModel):
    """Diffusion between reflecting walls under two rectangular gradient pulses across them.

    ``exact`` solves the Bloch-Torrey equation in the eigenmodes of the Laplacian. The largest γ G R³/D of a voxel sets
    how many: wave numbers up to 16/R below 20, 25/R below a hundred, 30/R beyond. At the worst timing, pulses back to
    back, the error is below 1e-5 of S0 up to a hundred and below 1e-4 up to a thousand. ``gaussian-phase`` takes the
    phases for Gaussian, which is much faster and good as long as γ G R³/D is well below ten. The gradient is taken to
    be across the plates or the axis of the cylinder.

    Source: Grebenkov 2007; Gaussian phases as Neuman 1974, VanGelderen 1994, Murday 1968.

    Args:
        acquisition: amplitudes, durations and separations.
        geometry: ``sphere``, ``cylinder``, or ``plates`` at a distance of twice the radius.
        form: ``gaussian-phase`` or ``exact``.

    Raises:
        UnknownNameError: no such geometry.
    """

    title = "Restricted diffusion"
    equation = "S0 * S(gamma G delta R, D delta/R^2, D Delta/R^2)"
    references = ("stejskal1965", "grebenkov2007", "neuman1974", "vangelderen1994", "murday1968")
    acquisition: PulsedGradient
    SHAPES: ClassVar = tuple(reversed(GEOMETRIES))
    FORMS: ClassVar = ("gaussian-phase", "exact")

    def __init__(
        self,
        acquisition: PulsedGradient,
        geometry: Geometry = "sphere",
        form: Literal["gaussian-phase", "exact"] = "gaussian-phase",
    ) -> None:
        super().__init__(
            acquisition,
            (
                Parameter("S0", "arbitrary", (0.0, float("inf")), (0.5, 1.5), "signal without gradients"),
                Parameter("D", "mm2/s", (1e-5, 5e-3), (5e-4, 2.5e-3), "diffusivity between the walls"),
                Parameter("radius", "um", (0.1, 30.0), (2.0, 8.0), "radius, or half the distance of plates"),
            ),
        )
        self._exact = form == "exact"
        highest = _HIGHEST if self._exact else (_GAUSSIAN_HIGHEST,)
        self._modes = tuple(spectrum(geometry, number) for number in highest)

    def forward(self, x: Tensor) -> Tensor:
        """Signal (contrast, *voxels) of (S0, D, radius)."""
        parts = [columns[0] * self._unit(columns[1], columns[2]) for columns in self._chunks(x)]
        return torch.cat(parts, -1).reshape(-1, *x.shape[1:])

    def jacobian(self, x: Tensor) -> Tensor:
        """∂signal/∂(S0, D, radius)."""
        return self.evaluate(x)[1]

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and Jacobian."""
        signals, jacobians = [], []
        for columns in self._chunks(x.detach()):
            with torch.enable_grad():
                # one copy of the tissue for every image, so that one backward pass gives all derivatives
                count = self.acquisition.contrasts
                d, radius = (row.expand(count, -1).clone().requires_grad_() for row in columns[1:])
                unit = self._unit(d, radius)
                by_d, by_radius = torch.autograd.grad(unit.sum(), (d, radius))
            unit = unit.detach()
            signals.append(columns[0] * unit)
            jacobians.append(torch.stack([unit, columns[0] * by_d, columns[0] * by_radius], 1))
        return (
            torch.cat(signals, -1).reshape(-1, *x.shape[1:]),
            torch.cat(jacobians, -1).reshape(-1, 3, *x.shape[1:]),
        )

    def _chunks(self, x: Tensor) -> tuple[Tensor, ...]:
        modes = len(self._modes[-1].rate)
        numbers = self.acquisition.contrasts * (modes**2 if self._exact else modes)
        return x.reshape(3, -1).split(max(1, _AT_A_TIME // numbers), dim=1)

    def _unit(self, diffusivity: Tensor, radius: Tensor) -> Tensor:
        """Signal (contrast, voxel) of S0 = 1, computed in double precision."""
        like = diffusivity.double()
        gradient, duration, separation = (
            self.acquisition.tensor(name, like=like)[:, None]
            for name in ("gradient_amplitude", "pulse_duration", "pulse_separation")
        )
        d, r = 1e-6 * like, 1e-6 * radius.double()
        timing = gradient, duration, separation
        if not self._exact:
            return gaussian_phase(self._modes[0], *timing, d, r).to(diffusivity.dtype)
        unit = torch.zeros_like(gradient * d)
        levels = self._levels(gradient, d.detach(), r.detach())
        for level in levels.unique().tolist():
            (own,) = torch.where(levels == level)
            part = pulsed_gradient(self._modes[level], *timing, d[..., own], r[..., own])
            unit = unit.index_copy(-1, own, part)
        return unit.to(diffusivity.dtype)

    @staticmethod
    def _levels(gradient: Tensor, diffusivity: Tensor, radius: Tensor) -> Tensor:
        """Which of the spectra each voxel takes."""
        strength = (
            2 * torch.pi * GYROMAGNETIC_RATIO * gradient.detach().abs().amax() * radius**3 / diffusivity
        )
        strength = strength.reshape(-1, strength.shape[-1]).amax(0)
        return torch.bucketize(strength, torch.tensor(_STRENGTHS).to(strength))
