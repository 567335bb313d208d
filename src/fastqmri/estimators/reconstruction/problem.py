"""The data term that all regularised image reconstructions share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fastqmri.core import Measurement
from fastqmri.estimators.reconstruction.images import Progress, encoding_of
from fastqmri.estimators.reconstruction.noise import kspace_noise
from fastqmri.physics.encoding import CartesianEncoding, LinearOperator, TemporalSubspace
from fastqmri.physics.encoding.noise import noise_gain
from fastqmri.solvers.first_order import fista, largest_eigenvalue

_MARGIN = 1.05


@dataclass(frozen=True)
class DataTerm:
    """½ ||E x - y||², known by its gradient E^H E x - E^H y.

    Attributes:
        gram: E^H E.
        right: E^H y.
        lipschitz: largest eigenvalue of E^H E, or more.
        noise: standard deviation, one real channel, of the noise in E^H y.
    """

    gram: Callable[[Tensor], Tensor]
    right: Tensor
    lipschitz: float
    noise: float

    def gradient(self, x: Tensor) -> Tensor:
        """E^H (E x - y)."""
        return self.gram(x) - self.right

    @property
    def step(self) -> float:
        """Longest safe step along the gradient."""
        return 1 / self.lipschitz

    def minimum(
        self,
        proximal: Callable[[Tensor], Tensor],
        *,
        iterations: int,
        tolerance: float,
        progress: Progress | None = None,
    ) -> Tensor:
        """Images of the least ½ ||E x - y||² + R(x), from E^H y on.

        Source: Beck 2009.

        Args:
            proximal: of R, for one gradient step.
            iterations: at most.
            tolerance: relative change to stop at.
            progress: called with (iteration, iterations).
        """
        return fista(
            self.gradient,
            proximal,
            self.right,
            step=self.step,
            iterations=iterations,
            tolerance=tolerance,
            progress=progress,
        )

    def projected(self, subspace: TemporalSubspace) -> DataTerm:
        """The same of coefficients c in x = Φ c, Φ of orthonormal directions."""

        def gram(c: Tensor) -> Tensor:
            return subspace.adjoint(self.gram(subspace(c)))

        return DataTerm(gram, subspace.adjoint(self.right), self.lipschitz, self.noise)


def data_term(measurement: Measurement, encoding: LinearOperator | None = None) -> DataTerm:
    """The data term of a measurement.

    Args:
        measurement: k-space.
        encoding: another E than the measurement's own.
    """
    encoding = encoding_of(measurement) if encoding is None else encoding
    right = encoding.adjoint(measurement.data)
    gain = noise_gain(encoding, measurement.data)
    gram = encoding.gram
    return DataTerm(gram, right, _lipschitz(encoding, gram, right), kspace_noise(measurement) * gain)


def _lipschitz(encoding: LinearOperator, gram: Callable[[Tensor], Tensor], right: Tensor) -> float:
    if isinstance(encoding, CartesianEncoding):  # masked and transformed, coils can only lose energy
        axis = -len(encoding.domain or ()) - 1
        return float(encoding.sensitivities.abs().square().sum(axis).max())
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(right.shape, dtype=right.dtype, generator=generator).to(right.device)
    return _MARGIN * largest_eigenvalue(gram, start, tolerance=1e-2)
