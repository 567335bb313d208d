"""Gram operators of Fourier transforms to samples that lie anywhere: convolutions."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from fastqmri.core import ShapeError
from fastqmri.physics.encoding.operator import LinearOperator


class ToeplitzGram(LinearOperator):
    """F^H W F, whose matrix depends on the difference of two voxels only: a convolution of the zero-padded image.

    The Fourier transform of an image padded to twice its sides is that of the image itself at the even frequencies, and
    of the image times exp(-iπ n/N) at the odd ones; so it is taken one parity after another and nothing is padded.

    Source: Fessler 2005.

    Args:
        kernel: (*doubled voxels) or (contrast, 1, *doubled voxels), Σ_s w_s exp(i k_s·m) / N for the differences m from
            -N to N - 1 along each axis.
        voxels: matrix.
    """

    def __init__(self, kernel: Tensor, voxels: tuple[int, ...]) -> None:
        super().__init__()
        dimensions = len(voxels)
        self.axes = tuple(range(-dimensions, 0))
        self.domain = self.range = tuple(voxels)
        for axis, side in zip(self.axes, voxels, strict=True):
            # no two voxels are N apart; zero there leaves the kernel Hermitian and its transform real
            inside = torch.arange(-side, side, device=kernel.device) != -side
            kernel = kernel * inside.view(-1, *(1,) * (-1 - axis))
        spectrum = torch.fft.fftn(torch.fft.ifftshift(kernel, self.axes), dim=self.axes).real
        parities = list(itertools.product((0, 1), repeat=dimensions))
        pieces = [spectrum[(..., *(slice(p, None, 2) for p in parity))] for parity in parities]
        self.register_buffer("spectra", torch.stack(pieces) / len(parities))
        phases = []
        for parity in parities:
            phase = torch.zeros(voxels, dtype=torch.float64, device=kernel.device)
            for axis, (odd, side) in enumerate(zip(parity, voxels, strict=True)):
                ramp = torch.arange(side, dtype=torch.float64, device=kernel.device) * (-math.pi * odd / side)
                phase = phase + ramp.view(-1, *(1,) * (dimensions - 1 - axis))
            phases.append(torch.polar(torch.ones_like(phase), phase).to(kernel.dtype))
        self.register_buffer("phases", torch.stack(phases))

    spectra: Tensor
    phases: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(..., *voxels) -> (..., *voxels), or with contrasts (..., contrast, coil, *voxels).

        Raises:
            ShapeError: images of another matrix.
        """
        if tuple(x.shape[self.axes[0] :]) != self.domain:
            raise ShapeError(
                f"images of {tuple(x.shape)} for a Gram operator of {self.domain}",
                "the last axes must be its voxels.",
                "Give images of that matrix.",
            )
        total: Tensor | None = None
        for spectrum, phase in zip(self.spectra, self.phases, strict=True):
            seen = torch.fft.fftn(x * phase, dim=self.axes) * spectrum.to(x.real.dtype)
            part = torch.fft.ifftn(seen, dim=self.axes) * phase.conj()
            total = part if total is None else total + part
        assert total is not None
        return total

    def adjoint(self, y: Tensor) -> Tensor:
        """The same."""
        return self(y)

    @property
    def H(self) -> LinearOperator:
        """Itself."""
        return self
