"""E: coils, Fourier transforms, sampling, off-resonance, as operators with their adjoints."""

from fastqmri.physics.encoding.cartesian import CartesianEncoding, Sampling
from fastqmri.physics.encoding.coils import Sensitivities, synthetic_sensitivities
from fastqmri.physics.encoding.fourier import Fourier
from fastqmri.physics.encoding.nufft import NonUniformFourier
from fastqmri.physics.encoding.operator import AdjointAsBackward, Identity, LinearOperator, Zero, stack
from fastqmri.physics.encoding.sampling import variable_density_lines
from fastqmri.physics.encoding.sparsity import FiniteDifferences, Wavelets

__all__ = [
    "AdjointAsBackward",
    "CartesianEncoding",
    "FiniteDifferences",
    "Fourier",
    "Identity",
    "LinearOperator",
    "NonUniformFourier",
    "Sampling",
    "Sensitivities",
    "Wavelets",
    "Zero",
    "stack",
    "synthetic_sensitivities",
    "variable_density_lines",
]
