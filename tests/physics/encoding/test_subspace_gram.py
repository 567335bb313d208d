"""E^H E between temporal components, against the operators it is made of."""

from __future__ import annotations

import pytest
import torch

from fastqmri.physics.encoding import (
    CartesianEncoding,
    SubspaceGram,
    TemporalSubspace,
    subspace_gram,
    synthetic_sensitivities,
)

MASKS = {
    "lines": (9, 1, 24),
    "columns": (9, 20, 1),
    "plane": (9, 20, 24),
    "alike": (1, 20, 24),
    "full": (1, 1, 1),
}


def _scan(shape: tuple[int, ...], g: torch.Generator) -> tuple[CartesianEncoding, TemporalSubspace]:
    maps = synthetic_sensitivities((20, 24), 8, generator=g).to(torch.complex128)
    mask = torch.rand(shape, generator=g) < 0.4
    basis = torch.linalg.qr(torch.randn(9, 3, dtype=torch.float64, generator=g))[0]
    return CartesianEncoding(maps, mask), TemporalSubspace(basis, 2)


@pytest.mark.parametrize("name", MASKS)
def test_it_is_the_product_of_its_parts(name: str, generator: torch.Generator) -> None:
    encoding, subspace = _scan(MASKS[name], generator)
    gram = subspace_gram(encoding, subspace)
    assert isinstance(gram, SubspaceGram)
    x = torch.randn(2, 3, 20, 24, dtype=torch.complex128, generator=generator)
    wanted = subspace.adjoint(encoding.adjoint(encoding(subspace(x))))
    assert float((gram(x) - wanted).norm() / wanted.norm().clamp_min(1e-9)) < 1e-12


@pytest.mark.parametrize(("name", "loss"), [("lines", 1e-5), ("lines", 1e-2), ("plane", 0.05)])
def test_fewer_coils_lose_no_more_than_allowed(name: str, loss: float, generator: torch.Generator) -> None:
    encoding, subspace = _scan(MASKS[name], generator)
    x = torch.randn(3, 20, 24, dtype=torch.complex128, generator=generator)
    exact = SubspaceGram(encoding, subspace)(x)
    compressed = SubspaceGram(encoding, subspace, loss)
    assert compressed.maps.shape[0] < 8
    off = float((compressed(x) - exact).norm() / exact.norm())
    assert 1e-9 < off < 2 * loss**0.5


@pytest.mark.parametrize("name", ["lines", "plane"])
def test_its_noise_has_the_operator_for_covariance(name: str, generator: torch.Generator) -> None:
    """w^H Φ^H E^H n has variance 2 w^H G w: white n has variance one in each channel."""
    encoding, subspace = _scan(MASKS[name], generator)
    gram = SubspaceGram(encoding, subspace)
    w = torch.randn(3, 20, 24, dtype=torch.complex128, generator=generator)
    drawn = [(w.conj() * gram.noise(generator)).sum().abs().square() for _ in range(800)]
    wanted = 2 * float((w.conj() * gram(w)).sum().real)
    assert float(torch.stack(drawn).mean()) == pytest.approx(wanted, rel=0.12)
