"""Off-resonance against the sum written out; temporal subspaces; what both refuse."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from fastqmri.core import DataError, PlausibilityError, ShapeError
from fastqmri.physics.encoding import (
    CartesianEncoding,
    Fourier,
    NonUniformFourier,
    OffResonance,
    TemporalSubspace,
    golden_radial,
    spiral,
)
from physics.encoding import checks

VOXELS = (17, 20)


def field_map() -> Tensor:
    """A slope with a bump, -80 to about 180 Hz, as near an air cavity."""
    x, y = torch.meshgrid(*[torch.linspace(-1, 1, n, dtype=torch.float64) for n in VOXELS], indexing="ij")
    return 80 * x + 160 * torch.exp(-8 * ((x - 0.3) ** 2 + (y + 0.2) ** 2))


def written_out(trajectory: Tensor, field: Tensor, times: Tensor) -> Tensor:
    """(sample, voxel) matrix exp(-i k·r + 2πi f t) / N^(1/2)."""
    axes = [torch.arange(side, dtype=torch.float64) - side // 2 for side in field.shape]
    r = torch.stack(torch.meshgrid(*axes, indexing="ij")).reshape(2, -1)
    phase = -trajectory @ r + 2 * math.pi * torch.outer(times, field.reshape(-1))
    return torch.polar(torch.ones_like(phase), phase) / math.sqrt(field.numel())


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-5])
def test_samples_off_the_grid(tolerance: float, generator: torch.Generator):
    trajectory = spiral(1, 20, field_of_view=0.2, dwell=8e-6, gradient=0.02, slew=100.0)[0]
    times = 2e-3 + 8e-6 * torch.arange(len(trajectory), dtype=torch.float64)
    field = field_map()
    operator = OffResonance(NonUniformFourier(trajectory, VOXELS), field, times, tolerance=tolerance)
    assert operator.error <= tolerance
    matrix = written_out(trajectory, field, times)
    x = torch.randn(2, *VOXELS, dtype=torch.complex128, generator=generator)
    y = torch.randn(2, len(trajectory), dtype=torch.complex128, generator=generator)
    # the error is per voxel; a random image averages it
    checks.close(operator(x), x.flatten(1) @ matrix.T, 2 * tolerance)
    checks.close(operator.adjoint(y), (y @ matrix.conj()).unflatten(1, VOXELS), 2 * tolerance)


def test_lines_of_a_cartesian_scan(generator: torch.Generator):
    """Every line has the same times; the echo in its middle."""
    times = 1e-4 * (torch.arange(20, dtype=torch.float64) - 10)
    field = field_map()
    operator = OffResonance(Fourier(2), field, times[None], tolerance=1e-6)
    axes = [2 * math.pi * (torch.arange(n, dtype=torch.float64) - n // 2) / n for n in VOXELS]
    matrix = written_out(torch.cartesian_prod(*axes), field, times.repeat(17))
    x = torch.randn(3, *VOXELS, dtype=torch.complex128, generator=generator)
    checks.close(operator(x), (x.flatten(1) @ matrix.T).unflatten(1, VOXELS), 2e-6)


def test_error_falls_with_the_number_of_segments():
    trajectory = golden_radial(1, 40)[0]
    times = torch.linspace(0, 10e-3, 40, dtype=torch.float64)
    transform = NonUniformFourier(trajectory, VOXELS)
    errors = [OffResonance(transform, field_map(), times, segments=n).error for n in range(1, 11)]
    assert all(b < a for a, b in itertools.pairwise(errors))
    # 2.6 turns between the extremes at the end: about as many segments, then it falls fast
    assert errors[0] > 0.5
    assert errors[9] < 1e-3


def test_no_field_needs_one_segment_and_voxels_without_weight_none(generator: torch.Generator):
    times = torch.linspace(0, 10e-3, 20, dtype=torch.float64)[None]
    nothing = OffResonance(Fourier(2), torch.zeros(VOXELS, dtype=torch.float64), times)
    assert nothing.segments == 1
    x = torch.randn(*VOXELS, dtype=torch.complex128, generator=generator)
    checks.close(nothing(x), Fourier(2)(x), 1e-12)
    field = field_map()
    field[:3] = 900  # noise outside the object
    everywhere = OffResonance(Fourier(2), field, times)
    inside = OffResonance(Fourier(2), field, times, weights=(field < 900).double())
    assert inside.segments < everywhere.segments


def test_the_field_can_be_learned(generator: torch.Generator):
    """The derivative by the field is that of the sum, to the accuracy of the segments."""
    trajectory = golden_radial(2, 20).flatten(0, 1)
    times = torch.linspace(0, 5e-3, 40, dtype=torch.float64)
    x = torch.randn(*VOXELS, dtype=torch.complex128, generator=generator)
    ours, theirs = field_map().requires_grad_(), field_map().requires_grad_()
    operator = OffResonance(NonUniformFourier(trajectory, VOXELS), ours, times, tolerance=1e-7)
    got = torch.autograd.grad(operator(x).abs().square().sum(), ours)[0]
    matrix = written_out(trajectory, theirs, times)
    wanted = torch.autograd.grad((matrix @ x.reshape(-1)).abs().square().sum(), theirs)[0]
    checks.close(got, wanted, 1e-4)


def test_impossible_fields_are_refused():
    times = torch.linspace(0, 10e-3, 400, dtype=torch.float64)[None]
    transform = NonUniformFourier(golden_radial(1, 20)[0], VOXELS)
    with pytest.raises(ShapeError, match="field map"):
        OffResonance(transform, torch.zeros(5, 5), times[0, :20])
    with pytest.raises(DataError, match="finite"):
        OffResonance(Fourier(2), torch.full(VOXELS, math.nan), times)
    with pytest.raises(PlausibilityError, match="units"):
        OffResonance(Fourier(2), 1e3 * field_map(), times)
    with pytest.raises(PlausibilityError, match="turns"):
        OffResonance(Fourier(2), field_map(), 1e6 * times)


def test_a_subspace_mixes_its_components(generator: torch.Generator):
    basis = torch.randn(6, 3, dtype=torch.float64, generator=generator)
    x = torch.randn(2, 3, 4, 5, dtype=torch.complex128, generator=generator)
    operator = TemporalSubspace(basis, 2)
    checks.close(operator(x), torch.einsum("tk,bkij->btij", basis.to(x.dtype), x), 1e-13)
    orthonormal = TemporalSubspace(torch.linalg.qr(basis).Q, 2)
    checks.close(orthonormal.adjoint(orthonormal(x)), x, 1e-13)
    with pytest.raises(ShapeError, match="coefficient images"):
        operator(x[:, :2])
    with pytest.raises(ShapeError, match="contrast images"):
        operator.adjoint(x)


def test_a_subspace_before_an_encoding_knows_its_voxels(generator: torch.Generator):
    maps = torch.randn(3, 4, 5, dtype=torch.complex128, generator=generator)
    encoding = CartesianEncoding(maps, torch.ones(6, 4, 5, dtype=torch.bool))
    with pytest.raises(ShapeError, match="basis"):
        (encoding @ TemporalSubspace(torch.ones(6, 2), 2))(torch.ones(3, 4, 5, dtype=torch.complex128))
