"""Unrolled dipole inversion: gradient steps on the field's misfit and one convolutional network, in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from fastqmri.core import PlausibilityError
from fastqmri.learning.networks.denoiser import Denoiser

_AXES = (-3, -2, -1)
STEP_BOUND = 2 / (4 / 9 + 1)
"""Steps below keep gradient descent on the two-channel misfit stable: 2 / ||A||², ||A||² = max D² + 1."""
AS_PUBLISHED = 4.0
"""Initial step of the published code, beyond the bound of two channels; learning has to make up for that."""
_SCALES = {"chi": 0.1, "rest": 0.003, "step": 0.002, "direct": 0.01, "noise": 0.001}
"""ppm that are one in the network."""
_CONE = 0.15
"""|D| at which a part of the field counts half as the field of dipoles, half as the rest."""
_LEAST_NOISE = 1e-5


@dataclass(frozen=True)
class FieldInput:
    """A local field as the network takes it, batched.

    Attributes:
        field: (batch, *voxels) in ppm of B0, zero outside the mask.
        mask: (batch, *voxels), 1 inside and 0 outside.
        deviation: (batch, *voxels) standard deviation of the field in ppm, zero outside the mask.
        start: (batch, *voxels) in ppm, a first χ; zeros for none.
        kernel: (batch, side, side, side // 2 + 1) D on the k-space of a matrix at least as large as that of the field.
        sides: of that matrix.
    """

    field: Tensor
    mask: Tensor
    deviation: Tensor
    start: Tensor
    kernel: Tensor
    sides: tuple[int, int, int]

    @property
    def weight(self) -> Tensor:
        """(batch, *voxels) weight of a voxel's misfit, 1 / variance but at most 1, so that the step's bound holds."""
        known = self.mask * self.deviation
        typical = known.sum(_AXES, keepdim=True) / self.mask.sum(_AXES, keepdim=True)
        relative = typical.clamp_min(_LEAST_NOISE) / self.deviation.clamp_min(_LEAST_NOISE)
        return self.mask * relative.square().clamp_max(1.0)

    def dipoles(self, chi: Tensor) -> Tensor:
        """D χ, (batch, *voxels) -> the same; its own adjoint."""
        spectrum = torch.fft.rfftn(chi, s=self.sides, dim=_AXES) * self.kernel
        x, y, z = chi.shape[-3:]
        return torch.fft.irfftn(spectrum, s=self.sides, dim=_AXES)[..., :x, :y, :z]

    def split(self, field: Tensor) -> tuple[Tensor, Tensor]:
        """What dipoles along B0 can hardly make of a field, κ²/(D² + κ²), and the χ of what they can, D/(D² + κ²)."""
        spectrum = torch.fft.rfftn(field, s=self.sides, dim=_AXES) / (self.kernel.square() + _CONE**2)
        x, y, z = field.shape[-3:]
        both = [
            torch.fft.irfftn(spectrum * part, s=self.sides, dim=_AXES)[..., :x, :y, :z]
            for part in (_CONE**2, self.kernel)
        ]
        return both[0], both[1]


@final
class UnrolledDipole(nn.Module):
    """χ33 and the rest of a field: `iterations` of z = X - α P Aᴴ W (A X - δ), X = z + CNN(z), with one CNN for all.

    A X = D χ33 + rest. P is one for χ33 and κ²/(D² + κ²) for the rest, which takes what dipoles can hardly make. The
    CNN sees z, the step that led to it, the misfit, its thresholded inversion, the mask and the noise of the field.

    Source: Feng 2021, eq. 14 and 16; the first χ, W, P, the residual form and what the CNN sees besides z are our own.

    Args:
        iterations: K.
        step: initial α, learned; `AS_PUBLISHED` or below `STEP_BOUND`.
        rest: whether there is the second channel; without it all of the field is taken for D χ.
        width: see `Denoiser`.
        blocks: see `Denoiser`.
        groups: see `Denoiser`.
        dropout: see `Denoiser`.
        coarse: see `Denoiser`.

    Raises:
        PlausibilityError: a step that is neither stable nor the published one.
    """

    def __init__(
        self,
        *,
        iterations: int = 3,
        step: float = 1.0,
        rest: bool = True,
        width: int = 32,
        blocks: int = 4,
        groups: int = 0,
        dropout: float = 0.0,
        coarse: int = 2,
    ) -> None:
        super().__init__()
        if not (0 < step < STEP_BOUND or step == AS_PUBLISHED):
            raise PlausibilityError(
                f"an initial step of {step:g}",
                f"gradient steps on both channels are stable below {STEP_BOUND:.3f}.",
                f"Take 1, or {AS_PUBLISHED:g} as published.",
            )
        self.iterations, self.rest = iterations, rest
        self.step = nn.Parameter(torch.tensor(float(step)))
        self.network = Denoiser(
            8, 2 if rest else 1, width=width, blocks=blocks, groups=groups, dropout=dropout, coarse=coarse
        )

    def forward(self, given: FieldInput) -> Tensor:
        """(batch, 2, *voxels): χ33 in ppm, of any mean, and the rest in ppm of B0; zero outside the mask."""
        mask, weight = given.mask, given.weight
        noise = (given.deviation / _SCALES["noise"]).clamp_max(10.0)
        chi, rest = given.start, torch.zeros_like(given.start)
        for _ in range(self.iterations):
            misfit = weight * (given.field - given.dipoles(chi) - rest)
            cone, direct = given.split(misfit)
            step = torch.stack([given.dipoles(misfit), cone if self.rest else torch.zeros_like(cone)], 1)
            step = self.step * step * mask[:, None]
            z = torch.stack([chi, rest], 1) + step
            channels = torch.cat(
                [
                    z[:, :1] / _SCALES["chi"],
                    z[:, 1:] / _SCALES["rest"],
                    step / _SCALES["step"],
                    misfit[:, None] / _SCALES["step"],
                    mask[:, None] * direct[:, None] / _SCALES["direct"],
                    mask[:, None],
                    noise[:, None],
                ],
                1,
            )
            change = self.network(channels).to(z.dtype) * mask[:, None]
            chi = z[:, 0] + _SCALES["chi"] * change[:, 0]
            if self.rest:
                rest = z[:, 1] + _SCALES["rest"] * change[:, 1]
        return torch.stack([chi, rest], 1)
