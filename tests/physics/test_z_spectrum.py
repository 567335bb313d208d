"""Z-spectra against rotations, splines of another program, and phantoms whose water is shifted by a known amount."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from fastqmri.core import AcquisitionError, Flag, Measurement, PlausibilityError, ZSpectrum
from fastqmri.core.units import GYROMAGNETIC_RATIO_UT
from fastqmri.estimators import CATALOGUE, cramer_rao_bound
from fastqmri.physics.signal import LorentzianPools, WasabiSignal, ZAsymmetry
from fastqmri.physics.signal.z_spectrum import glutamate, water_line
from physics.cases.z_spectrum import PAIRS, SHORT, SPECTRUM

NEAR = ZSpectrum(offset=(-300.0, *(-6 + 0.25 * i for i in range(49))))
SIDED = ZSpectrum(offset=(-100.0, *(s * (1.8 + 0.2 * i) for s in (-1, 1) for i in range(13))))


def spectrum(detuning: np.ndarray) -> np.ndarray:
    """Water, glutamate at 3 ppm and a broad line, at a detuning from the local water in ppm; not symmetric."""
    lines = ((0.8, 0.0, 1.4), (0.06, 3.0, 1.2), (0.1, -2.5, 40.0))
    return 1 - sum(a / (1 + (2 * (detuning - d) / g) ** 2) for a, d, g in lines)


def images(acquisition: ZSpectrum, shift: torch.Tensor) -> torch.Tensor:
    """(contrast, voxel) of voxels whose water is shifted; images far from water are unsaturated."""
    offset = np.array(acquisition.offset)[:, None]
    signal = np.where(np.abs(offset) > 50, 1.0, spectrum(offset - shift.numpy()))
    return torch.from_numpy(1000 * signal)


def test_wasabi_is_a_rotation_about_the_effective_field() -> None:
    model = WasabiSignal(SHORT)
    b1, shift = 0.87, -0.23
    x = torch.tensor([[1.0], [2.0], [b1], [shift]], dtype=torch.float64)
    w1 = GYROMAGNETIC_RATIO_UT * 3.7 * b1
    wanted = []
    for offset in SHORT.offset:
        field = np.array([w1, 0.0, GYROMAGNETIC_RATIO_UT * 3.0 * (offset - shift)])
        wanted.append(abs(Rotation.from_rotvec(field * 0.005).apply([0, 0, 1])[2]))
    np.testing.assert_allclose(model(x)[:, 0], wanted, atol=1e-12)


def test_lines_lie_where_their_pools_are() -> None:
    """Amide to the side of positive offsets, NOE and the semi-solid pool to the other; all move with the water."""
    model = LorentzianPools(SPECTRUM, "5")
    names = [p.name for p in model.parameters]
    base = torch.tensor([1.0, 0.3] + [0.0, 1.0] * 5, dtype=torch.float64)
    for pool, centre in {"water": 0.0, "amide": 3.5, "noe": -3.5, "mt": -2.5, "amine": 2.0}.items():
        x = base.clone()
        x[names.index(f"A_{pool}")], x[names.index(f"G_{pool}")] = 0.5, 0.8
        moved = LorentzianPools(
            ZSpectrum(offset=(*(centre + d for d in (0.3, 0.7, -0.1)), *(70.0 + i for i in range(12)))), "5"
        )
        at_centre, half_right, half_left = moved(x[:, None])[:3, 0].tolist()
        assert (at_centre, half_right, half_left) == pytest.approx((0.5, 0.75, 0.75), abs=1e-3)


def test_lorentzian_fit_is_unbiased_and_as_good_as_the_bound() -> None:
    """800 repetitions, seed 5, SNR 500: mean error below 4 standard errors, spread within 10 % of the bound."""
    model = LorentzianPools(SPECTRUM)
    x = torch.tensor([1.0, 0.1, 0.65, 1.8, 0.05, 2.0, 0.08, 3.5, 0.1, 50.0], dtype=torch.float64)
    clean = model(x[:, None])
    generator = torch.Generator().manual_seed(5)
    data = clean + 0.002 * torch.randn(len(clean), 800, dtype=torch.float64, generator=generator)
    maps = CATALOGUE["cest-lorentz"].estimator(model).estimate(Measurement(data, SPECTRUM, noise=0.002))
    names, bound = cramer_rao_bound(model, x[:, None], 0.002)
    for i, name in enumerate(names[:10]):
        found = maps[name].value.double()
        spread = float(found.std())
        if name not in ("G_amide", "G_mt"):  # skewed: a width is found by how much is missing
            assert abs(float(found.mean() - x[i])) < 4 * spread / math.sqrt(800), name
        assert spread == pytest.approx(float(bound[i]), rel=0.1), name
        assert float(maps[name].standard_deviation.median()) == pytest.approx(spread, rel=0.1), name
    rex = maps["MTRRex_amide"]
    assert float(rex.standard_deviation.median()) == pytest.approx(float(rex.value.std()), rel=0.1)


@pytest.mark.parametrize("name", ["wassr", "wasabi"])
def test_water_shift_has_the_sign_of_the_offset(name: str) -> None:
    shift = torch.linspace(-0.5, 0.5, 21, dtype=torch.float64)
    acquisition = SHORT if name == "wasabi" else ZSpectrum(offset=tuple(0.1 * i for i in range(-10, 11)))
    model = CATALOGUE[name].build(acquisition)
    x = {"M0": 800.0, "c": 1.8, "B1": 1.1, "A_water": 0.7, "G_water": 0.8}
    rows = [shift if p.name == "dB0" else torch.full_like(shift, x[p.name]) for p in model.parameters]
    data = model(torch.stack(rows))
    lowest = torch.tensor(acquisition.offset, dtype=torch.float64)[data.argmin(0)]
    if name == "wassr":  # the dip itself, before any fit
        assert float((lowest - shift).abs().max()) < 0.06
    maps = CATALOGUE[name].estimator(model).estimate(Measurement(data, acquisition, noise=1.0))
    torch.testing.assert_close(maps["dB0"].value.double(), shift, atol=1e-5, rtol=0)


@pytest.mark.parametrize("interpolation", ZAsymmetry.INTERPOLATION)
def test_wanted_detuning_is_at_the_shifted_offset_on_both_sides(interpolation: str) -> None:
    """On a straight line the value is the place: -3 + b and +3 + b for water shifted by b."""
    model = ZAsymmetry(PAIRS, 3.0, interpolation=interpolation)  # type: ignore[arg-type]
    shift = torch.tensor([-0.37, 0.0, 0.21, 0.6], dtype=torch.float64)
    line = torch.tensor(PAIRS.offset, dtype=torch.float64)[:, None].expand(-1, 4)
    negative, _, positive, _ = model.sides(torch.cat([line, shift[None]]))
    torch.testing.assert_close(negative, -3 + shift)
    torch.testing.assert_close(positive, 3 + shift)


def test_spline_is_that_of_another_program() -> None:
    model = ZAsymmetry(NEAR, 3.0)
    offset = np.array(NEAR.offset[1:])
    shift = torch.linspace(-1, 1, 41, dtype=torch.float64)
    x = torch.cat([torch.from_numpy(np.r_[1.0, spectrum(offset)])[:, None].expand(-1, 41), shift[None]])
    natural = CubicSpline(offset, spectrum(offset), bc_type="natural")
    negative, _, positive, _ = model.sides(x)
    np.testing.assert_allclose(negative, natural(-3 + shift.numpy()), atol=1e-12)
    np.testing.assert_allclose(positive, natural(3 + shift.numpy()), atol=1e-12)


def test_asymmetry_of_a_phantom_of_known_shift() -> None:
    """25 voxels, shifts of ±0.6 ppm: the map is flat with the right dB0, far off without, worse with its negative."""
    shift = torch.linspace(-0.6, 0.6, 25, dtype=torch.float64)
    truth = 100 * float(spectrum(np.array(-3.0)) - spectrum(np.array(3.0)))
    data = images(NEAR, shift)
    model = ZAsymmetry(NEAR, 3.0)
    estimator = CATALOGUE["cest-asymmetry"].estimator(model)

    def worst(known: dict[str, torch.Tensor]) -> float:
        maps = estimator.estimate(Measurement(data, NEAR, known=known, noise=1.0))
        return float((maps["MTRasym"].value - truth).abs().max())

    assert (
        worst({"dB0": shift}) < 0.03
    )  # what a spline through steps of 0.25 ppm leaves of a line 1.2 ppm wide
    assert worst({}) > 5
    assert worst({"dB0": -shift}) > 10


@pytest.mark.parametrize(("interpolation", "least", "most"), [("spline", 0.0, 0.03), ("linear", 0.1, 0.22)])
def test_glutamate_ratio_of_a_phantom_of_known_shift(interpolation: str, least: float, most: float) -> None:
    """Straight lines err by the curvature of the line times the square of the step over eight: 0.2 percent points."""
    shift = torch.linspace(-0.6, 0.6, 25, dtype=torch.float64)
    low, high = spectrum(np.array([-3.0, 3.0]))
    truth = 100 * (low - high) / low
    assert 1 < truth < 20  # a percentage: with a factor of ten this would be 0.6
    model = glutamate(SIDED, interpolation=interpolation)  # type: ignore[arg-type]
    measurement = Measurement(images(SIDED, shift), SIDED, known={"dB0": shift}, noise=1.0)
    found = CATALOGUE["glucest"].estimator(model).estimate(measurement)["GluCEST"].value
    assert least <= float((found - truth).abs().max()) < most


def test_percent() -> None:
    acquisition = ZSpectrum(offset=(-300.0, -4.0, -3.0, -2.0, 2.0, 3.0, 4.0))
    data = torch.tensor([[2.0, 1.3, 1.2, 1.0, 1.0, 1.08, 1.2]], dtype=torch.float64).T
    x = torch.cat([data, torch.zeros(1, 1)])
    assert float(ZAsymmetry(acquisition, 3.0).derive(x)[0][0]) == pytest.approx(6.0)
    assert float(glutamate(acquisition).derive(x)[0][0]) == pytest.approx(10.0)
    x[:-1] /= 2
    assert float(ZAsymmetry(acquisition, 3.0, normalised=True).derive(x)[0][0]) == pytest.approx(6.0)


def test_window_and_repeated_offsets_are_averaged() -> None:
    repeated = ZSpectrum(offset=(*NEAR.offset, 3.5, -300.0))
    x = torch.cat([images(repeated, torch.zeros(1)), torch.zeros(1, 1)])
    x[-3] += 8
    x[0] += 20
    narrow = float(ZAsymmetry(NEAR, 3.5).derive(torch.cat([x[:50], x[-1:]]))[0][0])
    both = ZAsymmetry(repeated, 3.5)
    whole = 1010.0
    assert float(both.derive(x)[0][0]) == pytest.approx((narrow * 1020 / 100 - 4) / whole * 100)
    window = ZAsymmetry(NEAR, 3.5, window=0.5)
    places = np.linspace(3.25, 3.75, 11)
    exact = 100 * np.mean(spectrum(-places) - spectrum(places))
    clean = torch.cat([images(NEAR, torch.zeros(1)), torch.zeros(1, 1)])
    assert float(window.derive(clean)[0][0]) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize("name", ["cest-asymmetry", "glucest"])
def test_standard_deviation_of_the_asymmetry(name: str) -> None:
    """4000 repetitions, seed 6: the claim is the spread, within 5 %; and the noise can come from the image."""
    shift = torch.full((4000,), 0.13, dtype=torch.float64)
    generator = torch.Generator().manual_seed(6)
    acquisition = SIDED if name == "glucest" else NEAR
    clean = images(acquisition, shift)
    data = clean + 4 * torch.randn(clean.shape, dtype=torch.float64, generator=generator)
    estimator = CATALOGUE[name].estimator(CATALOGUE[name].build(acquisition))
    (found,) = (
        m
        for m in estimator.estimate(Measurement(data, acquisition, known={"dB0": shift}, noise=4.0))
        if m.parameter.unit == "%"
    )
    spread = float(found.value.std())
    assert float(found.standard_deviation.median()) == pytest.approx(spread, rel=0.05)
    square = Measurement(data.view(-1, 50, 80), acquisition, known={"dB0": shift.view(50, 80)})
    from_image = estimator.estimate(square)[found.parameter.name]
    assert float(from_image.standard_deviation.median()) == pytest.approx(spread, rel=0.1)


def test_no_value_where_a_side_was_not_acquired() -> None:
    shift = torch.tensor([0.0, 0.5, 1.5, 700.0], dtype=torch.float64)
    estimator = CATALOGUE["glucest"].estimator(glutamate(SIDED))
    maps = estimator.estimate(Measurement(images(SIDED, shift), SIDED, known={"dB0": shift}, noise=1.0))
    assert torch.isfinite(maps["GluCEST"].value).tolist() == [True, True, False, False]
    assert int(maps.flags[2]) & Flag.NOT_CONVERGED
    assert int(maps.flags[3]) & Flag.INVALID_INPUT  # a map in Hz, not ppm


def test_impossible_requests() -> None:
    with pytest.raises(PlausibilityError, match="Hz where ppm"):
        ZSpectrum(offset=(-900.0, -450.0, 0.0, 450.0, 900.0))
    with pytest.raises(PlausibilityError, match="Hz where ppm"):
        ZAsymmetry(NEAR, 450.0)
    with pytest.raises(PlausibilityError, match="narrower"):
        ZAsymmetry(NEAR, 0.2, window=0.5)
    with pytest.raises(AcquisitionError, match="both sides"):
        ZAsymmetry(ZSpectrum(offset=(-300.0, *(0.25 * i for i in range(17)))), 3.5)
    with pytest.raises(AcquisitionError, match="both sides"):
        ZAsymmetry(SIDED, 4.1, window=0.5)
    near = ZSpectrum(offset=NEAR.offset[1:])
    with pytest.raises(AcquisitionError, match="unsaturated image"):
        ZAsymmetry(near, 3.5)
    assert ZAsymmetry(near, 3.5, normalised=True).parameters
    assert glutamate(near).parameters
    with pytest.raises(AcquisitionError, match="saturation_b1, saturation_time"):
        WasabiSignal(ZSpectrum(offset=SHORT.offset, field_strength=3.0))
    with pytest.raises(PlausibilityError, match="wassr"):
        WasabiSignal(SHORT.model_copy(update={"saturation_time": 0.8}))
    with pytest.raises(AcquisitionError, match="10 unknowns"):
        LorentzianPools(SHORT.model_copy(update={"offset": SHORT.offset[:9]}))
    with pytest.raises(AcquisitionError, match="4 unknowns"):
        water_line(ZSpectrum(offset=(-0.5, 0.0, 0.5)))
