"""The parts of image reconstructions against closed forms and dense algebra."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from estimators.reconstruction.kspace import ECHOES, ENTRY, MODEL, scan
from fastqmri.core import AcquisitionError, DataError, PlausibilityError, UnknownNameError
from fastqmri.core.acquisition import InversionRecovery, MultiEchoSpinEcho
from fastqmri.estimators import CATALOGUE
from fastqmri.estimators.reconstruction import (
    GloballyLowRank,
    LocallyLowRank,
    LowRankSparse,
    StructuredSparsity,
    TotalVariation,
    TwoStep,
    ZeroFilled,
    temporal_basis,
)
from fastqmri.estimators.reconstruction.exponential import nearest_exponential
from fastqmri.estimators.reconstruction.low_rank import blockwise
from fastqmri.estimators.reconstruction.problem import data_term
from fastqmri.estimators.reconstruction.subspace import simulated_curves
from fastqmri.estimators.reconstruction.wavelet import combined, without_coils
from fastqmri.physics.encoding import FiniteDifferences, Fourier
from fastqmri.solvers import proximal
from fastqmri.solvers.subspace import leading_direction


@pytest.fixture
def full(generator):
    """Everything sampled: the images of E^H y are the data, in white noise."""
    return scan(generator, acceleration=1.0, snr=20)[1]


@pytest.mark.parametrize("louder", [1.0, 3.0])
def test_threshold_of_low_rank_is_the_norm_of_the_noise(full, louder):
    """Fully sampled, the solution is known: singular values less λ."""
    measurement = dataclasses.replace(full, noise=louder * full.noise)
    images = full.encoding.adjoint(full.data).flatten(1).to(torch.complex128)
    u, s, vh = torch.linalg.svd(images, full_matrices=False)
    threshold = 0.5 * math.sqrt(2) * louder * full.noise * (math.sqrt(8) + 32)
    wanted = (u * (s - threshold).clamp_min(0)) @ vh
    got = GloballyLowRank(0.5).reconstruct(measurement).flatten(1)
    assert float((got - wanted).norm() / wanted.norm()) < 2e-3  # λ from one draw of the noise
    assert float(wanted.norm()) < 0.99 * float(images.norm())


def test_noise_alone_has_no_singular_value_above_the_threshold(full, generator):
    noise = (
        full.noise * math.sqrt(2) * torch.randn(full.data.shape, dtype=torch.complex64, generator=generator)
    )
    images = GloballyLowRank(1.1).reconstruct(dataclasses.replace(full, data=noise))
    assert float(images.norm()) == 0
    assert float(GloballyLowRank(0.8).reconstruct(dataclasses.replace(full, data=noise)).norm()) > 0


@pytest.mark.parametrize("joint", [True, False])
def test_total_variation_is_optimal(full, joint):
    """No image near the solution has a lower cost."""
    recon = TotalVariation(3.0, joint, iterations=1500, tolerance=0)
    x = recon.reconstruct(full)
    term = data_term(full)
    differences = FiniteDifferences(2)
    axes = (0, 1) if joint else 1

    def cost(x):
        edges = torch.linalg.vector_norm(differences(x), dim=axes).double().sum()
        gram = term.gram(x)
        data = 0.5 * (x.conj() * gram).real.double().sum() - (x.conj() * term.right).real.double().sum()
        return float(data + 3.0 * (math.sqrt(8) if joint else 1) * term.noise * edges)

    best = cost(x)
    generator = torch.Generator().manual_seed(3)
    smooth = differences.adjoint(differences(x))
    for size in (1e-1, 1e-2):
        noise = torch.randn(x.shape, dtype=x.dtype, generator=generator) * x.abs().mean()
        for direction in (noise, smooth, -smooth, x, -x):
            assert cost(x + size * direction) > best
    assert cost(term.right) > best


def test_total_variation_follows_the_noise(full):
    """λ is three standard deviations: naming twice the noise is asking for twice the weight."""
    a = TotalVariation(6.0).reconstruct(full)
    b = TotalVariation(3.0).reconstruct(dataclasses.replace(full, noise=2 * full.noise))
    assert torch.allclose(a, b, atol=1e-5)
    assert not torch.allclose(a, TotalVariation(3.0).reconstruct(full), atol=1e-3)


@pytest.mark.parametrize(
    ("voxels", "sides"), [((16, 16), (8, 8)), ((13, 10), (4, 4)), ((5, 7, 6), (4, 2, 4))]
)
def test_blocks_come_back_where_they_were(voxels, sides, generator):
    x = torch.randn(3, *voxels, dtype=torch.complex64, generator=generator)
    shift = tuple(side // 2 for side in sides)
    assert torch.equal(blockwise(x, sides, shift, lambda m: m), x)


def test_blocks_are_blocks():
    x = torch.arange(2 * 4 * 6).view(2, 4, 6).float()
    seen = []
    blockwise(x, (2, 3), (0, 0), lambda m: seen.append(m) or m)
    (matrices,) = seen
    assert matrices.shape == (4, 6, 2)
    assert torch.equal(matrices[1], x[:, :2, 3:].reshape(2, 6).T)


def test_leading_direction_is_that_of_the_svd(generator):
    m = torch.randn(50, 4, 6, dtype=torch.complex128, generator=generator)
    got = leading_direction(m)
    right = torch.linalg.svd(m, full_matrices=False).Vh[:, 0].conj()
    assert torch.allclose((got.conj() * right).sum(-1).abs(), torch.ones(50, dtype=torch.float64), atol=1e-6)
    assert not leading_direction(torch.zeros(2, 3, 3)).any()


def test_exponentials_stay_and_others_come_nearer(generator):
    rates = 5 + 60 * torch.rand(20, dtype=torch.float64, generator=generator)
    phase = torch.polar(torch.ones_like(rates), rates)
    times = torch.tensor(ECHOES, dtype=torch.float64)
    clean = phase * torch.exp(-times[:, None] * rates)
    assert torch.allclose(nearest_exponential(clean), clean, atol=1e-12)
    noise = 0.05 * torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
    assert float((nearest_exponential(clean + noise) - clean).norm()) < 0.85 * float(noise.norm())


def test_uneven_echoes_are_refused_by_the_exponential_prior(full):
    uneven = MultiEchoSpinEcho(echo_time=(*ECHOES[:-1], 0.2))
    with pytest.raises(AcquisitionError, match="evenly spaced"):
        LowRankSparse().reconstruct(dataclasses.replace(full, acquisition=uneven))


def test_basis_spans_the_models_curves(generator):
    basis, outside = temporal_basis(MODEL, 3, generator=torch.Generator().manual_seed(5))
    curves = simulated_curves(MODEL, generator=torch.Generator().manual_seed(5)).numpy()
    u, s, _ = np.linalg.svd(curves, full_matrices=False)
    np.testing.assert_allclose(np.abs(u[:, :3].T @ basis.numpy()), np.eye(3), atol=1e-6)
    assert outside == pytest.approx(float((s[3:] ** 2).sum() / (s**2).sum()), abs=1e-9)
    assert outside < 1e-3
    with pytest.raises(PlausibilityError, match="rank 9"):
        temporal_basis(MODEL, 9, generator=generator)


def test_basis_keeps_what_the_model_lost_by_magnitudes():
    """Inversion recovery of magnitudes is reconstructed complex: its curves are those with a sign."""
    acquisition = InversionRecovery(inversion_time=(0.05, 0.3, 0.8, 2.0), repetition_time=5.0)
    model = CATALOGUE["irt1"].build(acquisition, signal="magnitude")
    curves = simulated_curves(model, generator=torch.Generator().manual_seed(1))
    basis, outside = temporal_basis(model, 3, generator=torch.Generator().manual_seed(1))
    assert bool((curves < 0).any())
    lost = curves - basis @ (basis.mH @ curves)
    assert float(lost.square().sum() / curves.square().sum()) == pytest.approx(outside, abs=1e-9)


def test_coils_combine_to_the_object(generator):
    """Coil images of sensitivities whose squares add up to one have the object's magnitude; one contrast as well."""
    _, measurement = scan(generator)
    maps = measurement.encoding.sensitivities
    images = torch.randn(3, 32, 32, dtype=torch.complex64, generator=generator)
    got = combined(images[:, None] * maps)
    assert torch.allclose(got.abs(), images.abs(), atol=1e-4)
    ratio = got / images  # only a phase that contrasts share
    assert torch.allclose(ratio, ratio[:1].expand_as(ratio), atol=1e-2)
    single = images[:1, None] * maps
    assert torch.allclose(combined(single).abs(), images[:1].abs(), atol=1e-4)
    assert not combined(torch.zeros(2, 3, 4, 4, dtype=torch.complex64)).any()


def test_structured_sparsity_refuses_what_it_does_not_know():
    with pytest.raises(UnknownNameError, match="elastic"):
        StructuredSparsity("elastic")
    with pytest.raises(UnknownNameError, match="echoes"):
        StructuredSparsity(over="echoes")
    with pytest.raises(DataError, match="Fourier"):
        without_coils(Fourier(2))


def test_maps_after_local_low_rank_are_far_better_than_after_zero_filling(generator):
    """The small form of the image reconstruction benchmark: T2, 64², R = 5, SNR 60, two phantoms."""
    ours, zeros = [], []
    for _ in range(2):
        phantom, measurement = scan(generator, voxels=(64, 64), acceleration=5.0)
        for into, images in ((ours, LocallyLowRank()), (zeros, ZeroFilled())):
            maps = TwoStep(images, ENTRY.estimator(MODEL, "nlls")).estimate(measurement)
            wanted = phantom.maps["T2"][phantom.mask]
            into.append(float((maps["T2"].value[phantom.mask] - wanted).norm() / wanted.norm()))
    assert sum(ours) / 2 < 0.13
    assert sum(ours) < 0.6 * sum(zeros)


@pytest.mark.parametrize("over", ["coils", "contrasts", "all"])
@pytest.mark.parametrize("penalty", ["lasso", "group-lasso", "sparse-group-lasso", "oscar"])
def test_groups_are_what_they_are_called(penalty, over, generator):
    """Each group by itself, in a loop, by the one-dimensional operators."""
    details = torch.randn(3, 4, 5, dtype=torch.complex128, generator=generator)
    got = StructuredSparsity(penalty, over=over, share=0.6)._shrink(details, 0.5)
    wanted = torch.empty_like(details)
    places = {
        "coils": [(i, slice(None)) for i in range(3)],
        "contrasts": [(slice(None), j) for j in range(4)],
        "all": [(slice(None), slice(None))],
    }[over]
    for place in places:
        for k in range(5):
            x = details[(*place, k)].flatten()
            n = len(x)
            if penalty == "lasso":
                z = proximal.soft(x, 0.5)
            elif penalty == "group-lasso":
                z = proximal.group_soft(x, 0.5 * math.sqrt(n), 0)
            elif penalty == "sparse-group-lasso":
                z = proximal.sparse_group_soft(x, 0.2, 0.3 * math.sqrt(n), 0)
            else:
                weights = proximal.oscar_weights(n, 0.2, 0.6 / (n - 1))
                assert float(weights.mean()) == pytest.approx(0.5)
                z = proximal.ordered(x, weights)
            wanted[(*place, k)] = z.view(wanted[(*place, k)].shape)
    assert torch.allclose(got, wanted)
    assert float(got.norm()) < 0.9 * float(details.norm())
