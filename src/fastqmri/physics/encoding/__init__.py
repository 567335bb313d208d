"""E: coils, Fourier transforms, sampling, off-resonance, as operators with their adjoints."""

from fastqmri.physics.encoding.cartesian import CartesianEncoding, Sampling
from fastqmri.physics.encoding.coils import Sensitivities, synthetic_sensitivities
from fastqmri.physics.encoding.dipole import (
    COMPONENTS,
    Dipole,
    SusceptibilityTensor,
    dipole_and_rest,
    dipole_kernel,
    unit_direction,
)
from fastqmri.physics.encoding.fourier import Fourier
from fastqmri.physics.encoding.nufft import NonUniformFourier
from fastqmri.physics.encoding.operator import AdjointAsBackward, Identity, LinearOperator, Zero, stack
from fastqmri.physics.encoding.sampling import variable_density_lines
from fastqmri.physics.encoding.sparsity import FiniteDifferences, Wavelets

__all__ = [
    "COMPONENTS",
    "AdjointAsBackward",
    "CartesianEncoding",
    "Dipole",
    "FiniteDifferences",
    "Fourier",
    "Identity",
    "LinearOperator",
    "NonUniformFourier",
    "Sampling",
    "Sensitivities",
    "SusceptibilityTensor",
    "Wavelets",
    "Zero",
    "dipole_and_rest",
    "dipole_kernel",
    "stack",
    "synthetic_sensitivities",
    "unit_direction",
    "variable_density_lines",
]
