"""Unrolled networks against autograd, brute force and other encodings."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fastqmri.core import InversionRecovery, Measurement, MultiEchoSpinEcho, VariableFlipAngle
from fastqmri.learning.kspace_inference import KSpaceInference, mean_diagonal
from fastqmri.learning.networks.regularizers import (
    FieldsOfExperts,
    ResidualCNN,
    TotalVariationLike,
    folded,
    unfolded,
)
from fastqmri.learning.networks.unrolled import UnrolledNetwork, UnrolledSettings
from fastqmri.learning.subspace_batch import SubspaceBatch
from fastqmri.physics.encoding import (
    CartesianEncoding,
    LinearOperator,
    NonUniformFourier,
    Sensitivities,
    golden_radial,
    synthetic_sensitivities,
)
from fastqmri.physics.signal import (
    ExponentialDecay,
    InversionRecoverySignal,
    SignalModel,
    SpoiledGradientEcho,
)

ECHOES = ExponentialDecay(MultiEchoSpinEcho(echo_time=(0.01, 0.03, 0.05, 0.09)))
ANGLES = SpoiledGradientEcho(
    VariableFlipAngle(flip_angle=tuple(math.radians(a) for a in (3, 8, 15, 20)), repetition_time=0.005)
)
RECOVERY = InversionRecoverySignal(InversionRecovery(inversion_time=(0.1, 0.4, 1.0, 2.5)))
SMALL = {"width": 8, "depth": 3, "mapping_width": 8, "mapping_depth": 3}


def _scan(
    model: SignalModel, encoding: LinearOperator, voxels: tuple[int, int], seed: int = 0
) -> tuple[Measurement, Tensor]:
    g = torch.Generator().manual_seed(seed)
    x = torch.ones(len(model.parameters), *voxels)
    for i, p in enumerate(model.parameters):
        if i and p.nominal is None:
            low, high = {"T1": (0.6, 1.6), "T2": (0.03, 0.09)}.get(p.name, (1.9, 2.0))
            x[i] = low + (high - low) * torch.rand(voxels, generator=g)
    signal = (model.signed() or model)(x)
    data = encoding(signal.to(torch.complex64))
    return Measurement(data, model.acquisition, noise=0.01, encoding=encoding), x


def _cartesian(
    voxels: tuple[int, int], contrasts: int, axis: int = -1, seed: int = 1, share: float = 0.6
) -> CartesianEncoding:
    g = torch.Generator().manual_seed(seed)
    maps = synthetic_sensitivities(voxels, 3, generator=g)
    mask = torch.rand(contrasts, voxels[axis], generator=g) < share
    return CartesianEncoding(maps, mask[:, None, :] if axis == -1 else mask[:, :, None])


@pytest.mark.parametrize("axis", [-1, -2])
def test_subspace_batch_equals_the_operators_one_by_one(axis: int) -> None:
    voxels = (6, 8)
    scans = [_scan(ECHOES, _cartesian(voxels, 4, axis, s), voxels, s)[0] for s in (1, 2)]
    basis = torch.linalg.qr(torch.randn(4, 2, generator=torch.Generator().manual_seed(3)))[0]
    batch = SubspaceBatch.of(scans, basis, [0.1, 0.2])
    g = torch.Generator().manual_seed(4)
    x = torch.randn(2, 2, *voxels, dtype=torch.complex64, generator=g)
    turned = batch.transposed() if axis == -2 else None
    for i, scan in enumerate(scans):
        e = scan.encoding
        assert isinstance(e, CartesianEncoding)
        images = torch.einsum("tr,r...->t...", basis.to(x), x[:, i])
        wanted = torch.einsum("tr,t...->r...", basis.to(x), e.adjoint(e(images)))
        back = torch.einsum("tr,t...->r...", basis.to(x), e.adjoint(scan.data))
        torch.testing.assert_close(batch.gram(x)[:, i], wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(batch.back[:, i], back, rtol=1e-4, atol=1e-5)
        if turned is not None:
            torch.testing.assert_close(turned.gram(x.mT)[:, i].mT, wanted, rtol=1e-4, atol=1e-5)
    assert batch.single_axis == (1 if axis == -1 else 0)
    share = mean_diagonal(scans[0].encoding, x[:1].expand(4, *x.shape[1:])[:, 0])  # type: ignore[arg-type]
    mask = scans[0].encoding.mask  # type: ignore[union-attr]
    torch.testing.assert_close(share, mask.float().flatten(1).mean(1))


def test_a_cascade_without_denoiser_is_a_step_of_equation_21() -> None:
    """X - μ J^H (E^H E A(X) - E^H y), the gradient from autograd in double precision."""
    voxels = (6, 8)
    scan, _ = _scan(ECHOES, _cartesian(voxels, 4), voxels)
    settings = UnrolledSettings(
        cascades=1,
        inner=0,
        preconditioned=False,
        edges=False,
        **SMALL,  # type: ignore[arg-type]
    )
    network = UnrolledNetwork(ECHOES, settings).double()
    network.basis = network.basis.double()
    step = 0.05
    with torch.no_grad():
        network.step.fill_(math.log(step) / 10)
    batch = SubspaceBatch.of([scan], torch.eye(4), [0.01])
    network.basis, network.shares = torch.eye(4).double(), torch.full((4,), 0.25).double()
    from fastqmri.estimators.reconstruction.unknowns import Unknowns

    unknowns = Unknowns(ECHOES, {}, network.scale)
    g = torch.Generator().manual_seed(5)
    v = network.middle.view(-1, 1, 1, 1) + 0.1 * torch.randn(3, 1, *voxels, dtype=torch.float64, generator=g)
    v.requires_grad_(True)
    encoding = scan.encoding
    assert isinstance(encoding, CartesianEncoding)
    encoding = encoding.to(torch.complex128)
    encoding.sampling.mask = encoding.sampling.mask.real.bool()
    data = scan.data.to(torch.complex128)
    batch = SubspaceBatch.cartesian(
        data[None],
        encoding.sensitivities[None],
        encoding.mask.expand(4, *voxels)[None],
        torch.eye(4).double(),
        torch.tensor([0.01]),
    )
    images = unknowns.basis(v).images[:, 0]
    value = 0.5 * (encoding(images) - data).abs().square().sum()
    (gradient,) = torch.autograd.grad(value, v)
    with torch.no_grad():
        found, _ = network._cascade(0, unknowns, batch, v, None)
    torch.testing.assert_close(found, (v - step * gradient).detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("model", [ECHOES, ANGLES, RECOVERY], ids=["echoes", "angles", "recovery"])
def test_untrained_cascades_come_near_the_truth(model: SignalModel) -> None:
    """With well sampled data the data steps alone, no denoiser trained, must find the parameters."""
    voxels = (12, 10)
    scan, x = _scan(model, _cartesian(voxels, 4, share=0.85), voxels)
    network = UnrolledNetwork(model, UnrolledSettings(cascades=4, inner=8, **SMALL))  # type: ignore[arg-type]
    with torch.no_grad():
        network.weight.fill_(-1.2)
    estimator = KSpaceInference(
        lambda scans, noise: network(SubspaceBatch.of(scans, network.basis, noise), {}).found(network.basis),
        model,
        {"T1": 0.05, "T2": 0.05},
    )
    explained = estimator.explain(scan)
    name = next(n for n in ("T1", "T2") if n in explained.maps)
    truth = x[[p.name for p in model.parameters].index(name)]
    error = float((explained.maps[name].value - truth).norm() / truth.norm())
    assert error < 0.1
    assert float((explained.maps.flags == 0).float().mean()) > 0.9
    signal = (model.signed() or model)(x)
    assert float((explained.predicted - signal).abs().norm() / signal.norm()) < 0.1


def test_any_encoding_is_served() -> None:
    """Radial samples, two slices with coils of their own, gradients to the weights."""
    voxels = (12, 12)
    scans = []
    for seed in (1, 2):
        g = torch.Generator().manual_seed(seed)
        fourier = NonUniformFourier(golden_radial(16, 24).flatten(0, 1), voxels)
        encoding = fourier @ Sensitivities(synthetic_sensitivities(voxels, 3, generator=g), 2)
        scans.append(_scan(ECHOES, encoding, voxels, seed)[0])
    network = UnrolledNetwork(ECHOES, UnrolledSettings(cascades=2, inner=2, **SMALL))  # type: ignore[arg-type]
    out = network(SubspaceBatch.of(scans, network.basis, [0.01, 0.01]), {})
    assert out.v[-1].shape == (3, 2, *voxels)
    out.parameters()[1].mean().backward()
    assert network.mapping.last.weight.grad is not None
    assert float(network.mapping.last.weight.grad.abs().max()) > 0


def test_slices_together_are_slices_alone() -> None:
    voxels = (8, 8)
    scans = [_scan(ECHOES, _cartesian(voxels, 4, seed=s), voxels, s)[0] for s in (1, 2)]
    network = UnrolledNetwork(ECHOES, UnrolledSettings(cascades=2, **SMALL))  # type: ignore[arg-type]
    with torch.no_grad():
        both = network(SubspaceBatch.of(scans, network.basis, [0.01] * 2), {}).parameters()
        for i, scan in enumerate(scans):
            alone = network(SubspaceBatch.of([scan], network.basis, [0.01]), {}).parameters()
            torch.testing.assert_close(both[:, i], alone[:, 0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["cnn", "tv", "experts"])
def test_every_regularizer_learns(kind: str) -> None:
    voxels = (12, 12)
    scan, x = _scan(ECHOES, _cartesian(voxels, 4), voxels)
    torch.manual_seed(0)
    network = UnrolledNetwork(
        ECHOES,
        UnrolledSettings(cascades=1, inner=2, regularizer=kind, **SMALL),  # type: ignore[arg-type]
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        out = network(SubspaceBatch.of([scan], network.basis, [0.01]), {})
        loss = (out.parameters()[1, 0] / x[1] - 1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("regularizer", [TotalVariationLike, FieldsOfExperts])
def test_filters_leave_constants_alone(regularizer: type) -> None:
    change, memory = regularizer(3)(torch.full((2, 3, 9, 7), 0.7), torch.zeros(2, 1, 9, 7), None)
    assert memory is None
    inside = change[:, :, 3:-3, 2:-2] if regularizer is TotalVariationLike else change[:, :, 4:5, 3:4]
    torch.testing.assert_close(inside, torch.zeros_like(inside), atol=1e-5, rtol=0)


def test_total_variation_like_is_the_gradient_of_its_potential() -> None:
    layer = TotalVariationLike(1, filters=3).double()
    x = torch.randn(1, 1, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x.requires_grad_(True)
    filters = layer.filters - layer.filters.mean((2, 3), keepdim=True)
    responses = torch.nn.functional.conv2d(torch.nn.functional.pad(x, (1,) * 4, mode="replicate"), filters)
    weight, epsilon = layer.weight.exp().view(-1, 1, 1), layer.epsilon.exp().view(-1, 1, 1)
    potential = (weight * (responses.square() + epsilon.square()).sqrt()).sum()
    (gradient,) = torch.autograd.grad(potential, x)
    change, _ = layer(x, x, None)
    torch.testing.assert_close(change[..., 2:-2, 2:-2], -gradient[..., 2:-2, 2:-2])


@pytest.mark.parametrize("voxels", [(6, 8), (5, 7), (4, 5, 6)])
def test_folding_is_undone(voxels: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *voxels, generator=torch.Generator().manual_seed(1))
    assert torch.equal(unfolded(folded(x, 2), 2, voxels), x)


def test_residual_cnn_takes_volumes() -> None:
    change, memory = ResidualCNN(3, 2, width=8, depth=3, dimensions=3)(
        torch.ones(1, 3, 4, 5, 6), torch.ones(1, 2, 4, 5, 6), None
    )
    assert change.shape == (1, 3, 4, 5, 6)
    assert memory is not None
    assert float(change.abs().max()) == 0.0
