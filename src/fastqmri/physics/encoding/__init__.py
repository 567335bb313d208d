"""E: coils, Fourier transforms, sampling, off-resonance, as operators with their adjoints."""

from fastqmri.physics.encoding.batched import BatchedEncoding
from fastqmri.physics.encoding.cartesian import CartesianEncoding, Sampling
from fastqmri.physics.encoding.coils import Sensitivities, synthetic_sensitivities
from fastqmri.physics.encoding.density import fixed_point_density, radial_density, voronoi_density
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
from fastqmri.physics.encoding.off_resonance import OffResonance
from fastqmri.physics.encoding.operator import AdjointAsBackward, Identity, LinearOperator, Zero, stack
from fastqmri.physics.encoding.sampling import (
    line_density,
    poisson_disc,
    regular_lines,
    variable_density_lines,
)
from fastqmri.physics.encoding.sparsity import FiniteDifferences, Wavelets
from fastqmri.physics.encoding.subspace import TemporalSubspace
from fastqmri.physics.encoding.subspace_gram import SubspaceGram, subspace_gram
from fastqmri.physics.encoding.toeplitz import ToeplitzGram
from fastqmri.physics.encoding.trajectories import golden_radial, golden_radial_3d, spiral, stack_of_stars

__all__ = [
    "COMPONENTS",
    "AdjointAsBackward",
    "BatchedEncoding",
    "CartesianEncoding",
    "Dipole",
    "FiniteDifferences",
    "Fourier",
    "Identity",
    "LinearOperator",
    "NonUniformFourier",
    "OffResonance",
    "Sampling",
    "Sensitivities",
    "SubspaceGram",
    "SusceptibilityTensor",
    "TemporalSubspace",
    "ToeplitzGram",
    "Wavelets",
    "Zero",
    "dipole_and_rest",
    "dipole_kernel",
    "fixed_point_density",
    "golden_radial",
    "golden_radial_3d",
    "line_density",
    "poisson_disc",
    "radial_density",
    "regular_lines",
    "spiral",
    "stack",
    "stack_of_stars",
    "subspace_gram",
    "synthetic_sensitivities",
    "unit_direction",
    "variable_density_lines",
    "voronoi_density",
]
