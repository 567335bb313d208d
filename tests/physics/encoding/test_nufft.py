"""The transform to samples off the grid against the sum written out, and what it refuses."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor

from fastqmri.core import Measurement, MultiEchoSpinEcho, PlausibilityError, ShapeError
from fastqmri.physics.encoding import Fourier, LinearOperator, NonUniformFourier, Sensitivities
from physics.encoding import checks

MATRICES = pytest.mark.parametrize("voxels", [(5, 8), (9, 6), (3, 5, 4)], ids=str)


def dense(trajectory: Tensor, voxels: tuple[int, ...]) -> Tensor:
    """(sample, voxel) matrix of the sum in the docstring."""
    axes = [torch.arange(side, dtype=torch.float64) - side // 2 for side in voxels]
    r = torch.stack(torch.meshgrid(*axes, indexing="ij")).reshape(len(voxels), -1)
    return torch.exp(-1j * (trajectory @ r)) / math.sqrt(math.prod(voxels))


def drawn(samples: int, voxels: tuple[int, ...], generator: torch.Generator, *lead: int) -> Tensor:
    unit = torch.rand(*lead, samples, len(voxels), dtype=torch.float64, generator=generator)
    return math.pi * (2 * unit - 1)


def image(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=generator)


@MATRICES
def test_equals_the_sum_written_out(voxels: tuple[int, ...], generator: torch.Generator):
    trajectory = drawn(31, voxels, generator)
    matrix = dense(trajectory, voxels)
    x, y = image((3, *voxels), generator), image((3, 31), generator)
    operator = NonUniformFourier(trajectory, voxels)
    checks.close(operator(x), x.reshape(3, -1) @ matrix.T, 1e-11)
    checks.close(operator.adjoint(y), (y @ matrix.conj()).reshape(3, *voxels), 1e-11)
    checks.close(operator.gram(x), (x.reshape(3, -1) @ (matrix.mH @ matrix).T).reshape(3, *voxels), 1e-11)
    weights = torch.rand(31, dtype=torch.float64, generator=generator)
    wanted = x.reshape(3, -1) @ (matrix.mH @ (weights[:, None] * matrix)).T
    checks.close(operator.weighted_gram(weights)(x), wanted.reshape(3, *voxels), 1e-11)


@pytest.mark.parametrize("voxels", [(5, 8), (3, 5, 4)], ids=str)
def test_on_the_grid_it_is_the_fourier_transform(voxels: tuple[int, ...], generator: torch.Generator):
    axes = [2 * math.pi * (torch.arange(n, dtype=torch.float64) - n // 2) / n for n in voxels]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(voxels))
    x = image((2, *voxels), generator)
    operator = NonUniformFourier(grid, voxels)
    checks.close(operator(x).reshape(2, *voxels), Fourier(len(voxels))(x), 1e-11)
    checks.close(operator.gram(x), x, 1e-11)


def test_every_contrast_has_its_own_trajectory(generator: torch.Generator):
    voxels = (5, 8)
    trajectory = drawn(13, voxels, generator, 3)
    x = image((2, 3, 4, *voxels), generator)
    together = NonUniformFourier(trajectory, voxels)(x)
    for contrast, own in enumerate(trajectory):
        checks.close(together[:, contrast], NonUniformFourier(own, voxels)(x[:, contrast]), 1e-11)


@pytest.mark.parametrize(
    ("voxels", "contrasts"), [((5, 4), None), ((5, 4), 1), ((5, 4), 2), ((3, 2, 4), 2)], ids=str
)
def test_derivatives_by_the_trajectory_are_those_of_the_sum(
    voxels: tuple[int, ...], contrasts: int | None, generator: torch.Generator
):
    lead = () if contrasts is None else (contrasts,)
    trajectory = drawn(7, voxels, generator, *lead).mul_(0.9)
    along = torch.randn(trajectory.shape, dtype=torch.float64, generator=generator)
    shape = (contrasts or 1, 2)
    x, y = image((*shape, *voxels), generator), image((*shape, 7), generator)

    def by_sum(k: Tensor, x: Tensor) -> Tensor:
        matrix = dense(k, voxels)
        return torch.einsum("...sv,...cv->...cs", matrix, x.flatten(2))

    def by_adjoint_sum(k: Tensor, y: Tensor) -> Tensor:
        matrix = dense(k, voxels)
        return torch.einsum("...sv,...cs->...cv", matrix.conj(), y).reshape(*shape, *voxels)

    def ours(k: Tensor, x: Tensor) -> Tensor:
        return NonUniformFourier(k, voxels)(x)

    def ours_adjoint(k: Tensor, y: Tensor) -> Tensor:
        return NonUniformFourier(k, voxels).adjoint(y)

    for mine, theirs, at, cotangent in ((ours, by_sum, x, y), (ours_adjoint, by_adjoint_sum, y, x)):
        # forward mode
        _, got = torch.func.jvp(mine, (trajectory, at), (along, at.flip(-1)))
        _, wanted = torch.func.jvp(theirs, (trajectory, at), (along, at.flip(-1)))
        checks.close(got, wanted, 1e-10)

        # reverse mode, and the derivative of that
        def gradient(function, k: Tensor, x: Tensor, w: Tensor = cotangent) -> tuple[Tensor, ...]:
            return torch.func.grad(lambda k, x: checks.inner(w, function(k, x)).abs().square(), (0, 1))(k, x)

        for a, b in zip(gradient(mine, trajectory, at), gradient(theirs, trajectory, at), strict=True):
            checks.close(a, b, 1e-10)
        _, got_second = torch.func.jvp(lambda k: gradient(mine, k, at), (trajectory,), (along,))  # noqa: B023
        _, wanted_second = torch.func.jvp(lambda k: gradient(theirs, k, at), (trajectory,), (along,))  # noqa: B023
        for a, b in zip(got_second, wanted_second, strict=True):
            checks.close(a, b, 1e-10)
        leaf = trajectory.clone().requires_grad_()
        (first,) = torch.autograd.grad(mine(leaf, at).abs().square().square().sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad((first * along).sum(), leaf)
        other = trajectory.clone().requires_grad_()
        (first,) = torch.autograd.grad(
            theirs(other, at).abs().square().square().sum(), other, create_graph=True
        )
        (wanted_hessian,) = torch.autograd.grad((first * along).sum(), other)
        checks.close(second, wanted_hessian, 1e-10)
    assert torch.autograd.gradcheck(ours, (trajectory.requires_grad_(), x.requires_grad_()))


def test_the_gram_operator_knows_the_trajectory_too(generator: torch.Generator):
    voxels = (4, 5)
    leaf = drawn(6, voxels, generator).requires_grad_()
    x = image(voxels, generator)
    matrix = dense(leaf, voxels)
    wanted = (matrix @ x.reshape(-1)).abs().square().sum()
    got = checks.inner(x, NonUniformFourier(leaf, voxels).gram(x)).real
    checks.close(torch.autograd.grad(got, leaf)[0], torch.autograd.grad(wanted, leaf)[0], 1e-10)


def test_a_trajectory_moved_in_place_is_noticed(generator: torch.Generator):
    voxels = (4, 5)
    trajectory = drawn(6, voxels, generator)
    operator = NonUniformFourier(trajectory, voxels)
    x = image(voxels, generator)
    operator(x)
    operator.trajectory.data.mul_(0.5)
    checks.close(operator(x), dense(trajectory, voxels) @ x.reshape(-1), 1e-11)
    operator.trajectory.data.mul_(100)
    with pytest.raises(PlausibilityError, match="rad per voxel"):
        operator(x)


@pytest.mark.parametrize("threads", [1, 2])
def test_any_memory_layout_and_number_of_threads(threads: int, generator: torch.Generator):
    voxels = (6, 8)
    operator = NonUniformFourier(drawn(9, voxels, generator), voxels)
    x = image((*reversed(voxels), 3), generator)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for strange in (x.permute(2, 1, 0), x.permute(2, 1, 0).conj(), x.permute(2, 1, 0)[::2]):
            checks.close(operator(strange), operator(strange.clone().resolve_conj().contiguous()), 1e-11)
        samples = image((9, 3), generator).T
        checks.close(operator.adjoint(samples), operator.adjoint(samples.contiguous()), 1e-11)
    finally:
        torch.set_num_threads(before)


def test_copies_and_pickles_work_after_use(generator: torch.Generator):
    voxels = (4, 5)
    operator = NonUniformFourier(drawn(6, voxels, generator), voxels)
    x = image(voxels, generator)
    wanted = operator(x)
    assert torch.equal(copy.deepcopy(operator)(x), wanted)
    assert torch.equal(pickle.loads(pickle.dumps(operator))(x), wanted)


def encoding(generator: torch.Generator) -> LinearOperator:
    voxels = (5, 8)
    return NonUniformFourier(drawn(9, voxels, generator), voxels) @ Sensitivities(
        image((3, *voxels), generator), 2
    )


def test_with_coils_it_is_an_encoding_of_a_measurement(generator: torch.Generator):
    operator = encoding(generator)
    assert operator.domain == (5, 8)
    assert operator.range == (3, 9)
    assert operator.H.range == (5, 8)
    echoes = MultiEchoSpinEcho(echo_time=(0.01, 0.02))
    measurement = Measurement(image((2, 3, 9), generator), echoes, encoding=operator)
    assert measurement.voxels == (5, 8)
    with pytest.raises(ShapeError, match="3, 9"):
        Measurement(image((2, 4, 9), generator), echoes, encoding=operator)


def test_wrong_shapes_are_named(generator: torch.Generator):
    voxels = (5, 8)
    operator = encoding(generator)
    with pytest.raises(ShapeError, match="3 coil maps"):
        operator.adjoint(image((2, 4, 9), generator))
    with pytest.raises(ShapeError, match="samples of"):
        operator.adjoint(image((2, 3, 10), generator))
    with pytest.raises(ShapeError, match="images of"):
        operator(image((2, 5, 9), generator))
    with pytest.raises(ShapeError, match="2 contrasts"):
        NonUniformFourier(drawn(9, voxels, generator, 2), voxels)(image((3, 4, *voxels), generator))
    with pytest.raises(ShapeError, match="sample, dimension"):
        NonUniformFourier(drawn(9, (5, 8, 3), generator), voxels)
    with pytest.raises(ShapeError, match="last axes"):
        NonUniformFourier(drawn(9, voxels, generator), voxels) @ Sensitivities(image((3, 5, 9), generator), 2)


def test_impossible_trajectories_are_refused(generator: torch.Generator):
    voxels = (5, 8)
    cycles_per_field_of_view = drawn(9, voxels, generator) * 8 / (2 * math.pi)
    with pytest.raises(PlausibilityError, match=r"reaches 3\.95"):
        NonUniformFourier(cycles_per_field_of_view / cycles_per_field_of_view.abs().max() * 3.95, voxels)
    broken = drawn(9, voxels, generator)
    broken[3, 1] = math.nan
    with pytest.raises(PlausibilityError, match="1 of 18 values not finite"):
        NonUniformFourier(broken, voxels)
