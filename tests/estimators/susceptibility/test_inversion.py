"""What every dipole inversion takes and gives, and the closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fastqmri.core import AcquisitionError, DataError, PlausibilityError, ShapeError, UnknownNameError
from fastqmri.core.references import REFERENCES
from fastqmri.estimators.susceptibility import INVERSIONS, Inversion, field_noise, inversion, referenced
from fastqmri.estimators.susceptibility.inversion import PADDING
from fastqmri.phantoms import gradient_echoes, susceptibility_ellipsoids
from fastqmri.physics.encoding import Dipole

SIDES, SIZE = (18, 20, 17), (1.0, 0.9, 1.2)
TILTS = ((0.0, 0.0, 1.0), (0.4, 0.0, 1.0), (-0.1, 0.5, 1.0))


def _mask() -> Tensor:
    mask = torch.zeros(SIDES, dtype=torch.bool)
    mask[3:15, 3:17, 3:14] = True
    return mask


def _directions(one: Inversion) -> tuple[tuple[float, ...], ...]:
    return TILTS[:1] if one.least_orientations == 1 else TILTS


def _inputs(one: Inversion, generator: torch.Generator) -> tuple[Tensor, Tensor, dict[str, object]]:
    mask = _mask()
    chi = torch.zeros(SIDES)
    chi[6:10, 6:12, 5:9] = 0.1
    fields = Dipole(SIDES, SIZE, _directions(one))(chi)
    fields = fields + 1e-3 * torch.randn(fields.shape, generator=generator)
    magnitude = (1.0 + 5 * chi) * mask
    known = {"voxel_size": SIZE, "magnitude": magnitude, "weight": magnitude, "radians_per_ppm": 16.0}
    return fields, mask, known


EVERY = pytest.mark.parametrize("name", INVERSIONS)


@EVERY
def test_every_inversion(name: str, generator: torch.Generator) -> None:
    one = inversion(name)
    fields, mask, known = _inputs(one, generator)
    assert all(reference in REFERENCES for reference in one.references)
    got = one.invert(fields, mask, b0_direction=_directions(one), **known)
    again = one.invert(fields, mask, b0_direction=_directions(one), **known)
    assert torch.equal(got.value, again.value), "the same input gives the same bytes"
    assert torch.equal(got.standard_deviation, again.standard_deviation)
    assert got.value.dtype == torch.float32
    assert bool((got.value[~mask] == 0).all())
    assert abs(float(got.value[mask].mean())) < 1e-6
    assert bool((got.standard_deviation[mask] > 0).all())
    assert bool((got.standard_deviation[~mask] == 0).all())
    assert "mask" in got.reference
    spoilt = torch.where(mask, fields, torch.nan)
    kept = one.invert(spoilt, mask, b0_direction=_directions(one), **known)
    assert torch.equal(kept.value, got.value), "what is outside the mask is not looked at"
    zero_here = torch.zeros_like(mask)
    zero_here[6:9, 6:9, 6:8] = True
    moved = one.invert(fields, mask, b0_direction=_directions(one), reference=zero_here, **known)
    assert abs(float(moved.value[zero_here].mean())) < 1e-6
    assert "reference region" in moved.reference


@EVERY
def test_precision_and_scale(name: str, generator: torch.Generator) -> None:
    """Double precision gives the same; length and sign of the direction of B0 do not matter."""
    one = inversion(name)
    fields, mask, known = _inputs(one, generator)
    directions = torch.tensor(_directions(one))
    got = one.invert(fields, mask, b0_direction=directions, noise=1e-3, **known).value
    other = one.invert(fields.double(), mask, b0_direction=-3 * directions, noise=1e-3, **known).value
    assert other.dtype == torch.float64
    assert float((got - other).norm() / other.norm()) < 2e-3


@EVERY
def test_refusals(name: str, generator: torch.Generator) -> None:
    one = inversion(name)
    fields, mask, known = _inputs(one, generator)
    directions = _directions(one)
    broken = fields.clone()
    broken[0, 7, 7, 7] = torch.nan
    with pytest.raises(DataError):
        one.invert(broken, mask, b0_direction=directions, **known)
    with pytest.raises(DataError):
        one.invert(fields, mask & False, b0_direction=directions, **known)
    with pytest.raises(ShapeError):
        one.invert(fields, mask, b0_direction=(*directions, (0, 0, 1)), **known)
    with pytest.raises(ShapeError):
        one.invert(fields[..., 1:], mask, b0_direction=directions, **known)
    with pytest.raises(DataError):
        one.invert(fields, mask, b0_direction=directions, **{**known, "weight": -torch.ones(SIDES)})
    if one.most_orientations == 1:
        with pytest.raises(AcquisitionError):
            one.invert(fields.expand(2, *SIDES), mask, b0_direction=TILTS[:2], **known)


def test_unknown_name() -> None:
    with pytest.raises(UnknownNameError):
        inversion("magic")


@pytest.mark.parametrize("name", ["tkd", "tsvd", "l2", "cosmos"])
def test_deviation_of_linear_inversions(name: str, generator: torch.Generator) -> None:
    """Against the spread over repetitions, with noise that varies over the mask."""
    one = inversion(name).configured(regularisation=1e-2) if name == "l2" else inversion(name)
    mask = _mask()
    weight = torch.linspace(0.5, 2.0, SIDES[0]).view(-1, 1, 1).expand(SIDES) * mask
    scale = float((weight[mask] ** 2).mean().sqrt())
    deviation = torch.where(mask, 1e-3 * scale / weight.clamp_min(1e-3), 0.0)
    directions = _directions(one)
    settings = {"voxel_size": SIZE, "b0_direction": directions, "weight": weight, "noise": 1e-3}
    runs = []
    for _ in range(200):
        noise = deviation * torch.randn((len(directions), *SIDES), generator=generator)
        result = one.invert(noise, mask, **settings)
        runs.append(result.value)
    spread = torch.stack(runs).std(0)[mask]
    said = result.standard_deviation[mask]
    ratio = spread / said
    # 200 repetitions know each voxel's spread to 5 %; the reference's own mean takes a little
    assert abs(float(ratio.mean()) - 1) < 0.02
    assert float((ratio - ratio.mean()).abs().max()) < 0.3


def test_thresholded_division_by_hand(generator: torch.Generator) -> None:
    """The complex transform, the filter written out; and truncation and scaling."""
    sides, size, direction = (5, 7, 9), (1.0, 0.9, 1.2), (0.3, -0.2, 1.0)
    field = torch.randn(sides, dtype=torch.float64, generator=generator)
    mask = torch.ones(sides, dtype=torch.bool)
    axes = [torch.fft.fftfreq(n, d=s, dtype=torch.float64) for n, s in zip(sides, size, strict=True)]
    k = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    b = torch.tensor(direction, dtype=torch.float64)
    kernel = 1 / 3 - torch.einsum("a,a...->...", b / b.norm(), k) ** 2 / k.square().sum(0)
    kernel[0, 0, 0] = 0
    clipped = torch.where(kernel.abs() > 0.15, kernel, 0.15 * kernel.sign())
    dropped = torch.where(kernel.abs() > 0.15, kernel, math.inf)
    for settings, below in (({}, clipped), ({"truncate": True}, dropped), ({"scaled": True}, clipped)):
        inverse = torch.where(below == 0, 0, 1 / below)
        if "scaled" in settings:
            inverse = inverse / (inverse * kernel).mean()
        wanted = torch.fft.ifftn(torch.fft.fftn(field) * inverse).real
        wanted = wanted - wanted.mean()
        one = inversion("tkd").configured(**settings)
        got = one.invert(field, mask, voxel_size=size, b0_direction=b, padding=1)
        assert float((got.value - wanted).norm() / wanted.norm()) < 1e-5


def test_closed_form_solves_its_equations(generator: torch.Generator) -> None:
    """The gradient of ½||Dχ - δ||² + ½α||∇χ||² vanishes."""
    field = torch.randn(SIDES, dtype=torch.float64, generator=generator)
    field -= field.mean()
    mask = torch.ones(SIDES, dtype=torch.bool)
    got = inversion("l2").configured(regularisation=0.03).invert(field, mask, voxel_size=SIZE, padding=1)
    dipole = Dipole(SIDES, SIZE)
    chi = got.value.requires_grad_()
    jumps = sum((chi.roll(-1, axis) - chi).square().sum() for axis in range(3))
    cost = 0.5 * (dipole(chi) - field).square().sum() + 0.5 * 0.03 * jumps
    (gradient,) = torch.autograd.grad(cost, chi)
    assert float(gradient.abs().max()) < 1e-5 * float(field.abs().max())


def test_noise_of_a_field(generator: torch.Generator) -> None:
    z = torch.linspace(-3, 3, 40)
    smooth = torch.einsum("a,b,c->abc", z, torch.cos(z), torch.sin(z / 2))
    noisy = smooth + 0.02 * torch.randn(40, 40, 40, generator=generator)
    mask = torch.ones(40, 40, 40, dtype=torch.bool)
    assert abs(field_noise(noisy, mask) / 0.02 - 1) < 0.03
    weight = torch.full((40, 40, 40), 2.0)
    assert abs(field_noise(noisy, mask, weight) / 0.04 - 1) < 0.03
    assert field_noise(noisy[:, :, :1], mask[:, :, :1]) == 0


@pytest.mark.parametrize("snr", [100, 40, 15])
def test_noise_of_a_field_full_of_edges(snr: float) -> None:
    """Within 15 %, where differences alone take structure for noise at high SNR."""
    generator = torch.Generator().manual_seed(61)
    phantom = susceptibility_ellipsoids((56, 56, 56), generator=generator)
    scan = gradient_echoes(phantom, generator=generator, snr=snr, padding=1.0)
    scale, image = scan.radians_per_ppm(), scan.images[0, 0]
    level = float(image.abs()[phantom.mask].square().mean().sqrt())
    weight = image.abs() / level
    true = scan.noise / level / scale
    assert abs(field_noise(image.angle() / scale, phantom.mask, weight) / true - 1) < 0.15


@EVERY
def test_a_tight_matrix_does_not_wrap(name: str, generator: torch.Generator) -> None:
    """The result of a matrix cut to the mask is near that of one with much room; without padding it isn't."""
    one = inversion(name)
    fields, mask, known = _inputs(one, generator)
    part = tuple(slice(int(at.min()), int(at.max()) + 1) for at in mask.nonzero().T)
    tight = {key: value[part] if isinstance(value, Tensor) else value for key, value in known.items()}
    wide, padded, bare = (
        one.invert(
            field, where, b0_direction=_directions(one), noise=1e-3, padding=padding, **settings
        ).value[slice_]
        for field, where, padding, settings, slice_ in (
            (fields, mask, 3.0, known, part),
            (fields[(slice(None), *part)], mask[part], PADDING, tight, ...),
            (fields[(slice(None), *part)], mask[part], 1.0, tight, ...),
        )
    )
    assert float((padded - wide).norm()) < 0.5 * float((bare - wide).norm())
    with pytest.raises(PlausibilityError):
        one.invert(fields, mask, b0_direction=_directions(one), padding=0.5, **known)


def test_reference_outside_the_mask() -> None:
    mask = torch.zeros(4, 4, 4, dtype=torch.bool)
    mask[1:3] = True
    with pytest.raises(DataError):
        referenced(torch.zeros(4, 4, 4), mask, ~mask)
