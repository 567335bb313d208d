"""Images from k-space, and estimators that map them afterwards."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fastqmri.core import DataError, Encoding, Estimator, Measurement, ParameterMaps, Progress
from fastqmri.physics.encoding import LinearOperator
from fastqmri.physics.encoding.noise import noise_gain
from fastqmri.solvers.conjugate_gradient import conjugate_gradient


class ImageReconstruction(Protocol):
    """An image stage: k-space in, complex contrast images out."""

    @property
    def name(self) -> str:
        """For ``--method`` and the records."""
        ...

    @property
    def references(self) -> tuple[str, ...]:
        """Bibliography keys."""
        ...

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images (contrast, *voxels) of a measurement with an encoding."""
        ...


def encoding_of(measurement: Measurement) -> LinearOperator:
    """E of a measurement.

    Raises:
        DataError: it holds images.
    """
    encoding: Encoding | None = measurement.encoding
    if encoding is None:
        raise DataError(
            "images for a reconstruction", "it starts from k-space.", "Give a measurement with an encoding."
        )
    assert isinstance(encoding, LinearOperator)
    return encoding


@dataclass(frozen=True)
class ZeroFilled:
    """What was not measured counts as zero: E^H y, scaled so that a fully sampled scan comes out right.

    Samples off the grid count with the part of k-space they stand for.
    """

    name: str = "zero-filled"
    references: tuple[str, ...] = ()

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images (contrast, *voxels)."""
        return encoding_of(measurement).zero_filled(measurement.data)


@dataclass(frozen=True)
class ConjugateGradientSense:
    """min ||E ρ - y||² + λ ||ρ||² by conjugate gradients, contrast by contrast, then scaled to fit y best.

    The prior draws images towards zero where sampling leaves them open; the scale, one for each contrast, takes back
    what it drew from all voxels alike, so that fully sampled scans come out right.

    Source: Pruessmann 2001.

    Attributes:
        regularisation: λ, relative to the mean eigenvalue of E^H E. The largest would not do: it is far from the mean
            where trajectories are dense near the centre.
        iterations: at most.
        tolerance: relative residual to stop at.
    """

    regularisation: float = 1e-1
    iterations: int = 30
    tolerance: float = 1e-4
    name: str = "cg-sense"
    references: tuple[str, ...] = ("pruessmann2001",)

    def reconstruct(self, measurement: Measurement, *, progress: Progress | None = None) -> Tensor:
        """Complex images (contrast, *voxels)."""
        encoding = encoding_of(measurement)
        right = encoding.adjoint(measurement.data)
        images = conjugate_gradient(
            encoding.gram + self.regularisation * noise_gain(encoding, measurement.data) ** 2,
            right,
            iterations=self.iterations,
            tolerance=self.tolerance,
            dimensions=len(measurement.voxels),
            progress=progress,
        )
        voxels = tuple(range(1, images.ndim))
        fitted = (images.conj() * right).sum(voxels, keepdim=True).real
        energy = (images.conj() * encoding.gram(images)).sum(voxels, keepdim=True).real
        return images * torch.where(energy > 0, fitted / energy, 1)


@dataclass(frozen=True)
class TwoStep:
    """Images first, then a map of them. An `Estimator`.

    Attributes:
        images: the image stage.
        mapping: estimates from images.
        complex_valued: whether ``mapping`` wants complex images; magnitudes are taken if not.
        progress: of the image stage, called with (done, in all).
    """

    images: ImageReconstruction
    mapping: Estimator
    complex_valued: bool = False
    progress: Progress | None = None

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """Estimate from k-space, or from images as they are.

        Noise is found in the images: undersampling spreads that of k-space unevenly, and adds what was not measured.
        """
        return self.mapping.estimate(self.reconstructed(measurement))

    def reconstructed(self, measurement: Measurement) -> Measurement:
        """The same measurement as contrast images."""
        images = self.images.reconstruct(measurement, progress=self.progress)
        return dataclasses.replace(
            measurement, data=images if self.complex_valued else images.abs(), encoding=None, noise=None
        )
