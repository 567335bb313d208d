"""Magnetisation transfer and CEST of real brains and simulated phantoms that others made."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from fastqmri.core import Measurement, QuantitativeMagnetizationTransfer, ZSpectrum
from fastqmri.estimators import CATALOGUE
from fastqmri.io import read_image
from fastqmri.report.quantities import number

QMT = QuantitativeMagnetizationTransfer(
    saturation_angle=tuple(math.radians(angle) for _ in range(5) for angle in (142, 426)),
    offset=tuple(d for d in (443.0, 1088.0, 2732.0, 6862.0, 17235.0) for _ in range(2)),
    pulse_duration=0.0102,
    repetition_time=0.025,
    flip_angle=math.radians(7),
)


@pytest.mark.parametrize(
    ("name", "white", "grey"), [("qmt", (0.1, 0.2), (0.05, 0.1)), ("qmt-yarnykh", (0.14, 0.27), (0.06, 0.14))]
)
def test_pools_of_a_brain(
    test_data: Callable[[str], Path], name: str, white: tuple[float, float], grey: tuple[float, float]
) -> None:
    """2000 voxels of one slice, noise 3 % of the unsaturated signal; tissue told apart by R1 alone."""
    folder = test_data("brain_qmt_spgr_qmrlab_left")
    read = {
        part: read_image(folder / f"qmt_spgr{part}.nii.gz").data
        for part in ("", "_B0map", "_B1map", "_R1map", "_mask")
    }
    r1, mask = read["_R1map"].squeeze(), read["_mask"].squeeze() > 0
    known = {"B0": read["_B0map"].squeeze(), "B1": read["_B1map"].squeeze(), "R1": r1}
    data = read[""].squeeze().movedim(-1, 0)
    entry = CATALOGUE[name]
    maps = entry.estimator(entry.build(QMT)).estimate(Measurement(data, QMT, mask=mask, known=known))
    assert float((maps.flags[mask] == 0).float().mean()) > 0.9
    tissue = {
        "white": mask & (r1 > 1 / 1.0) & (r1 < 1 / 0.6),
        "grey": mask & (r1 > 1 / 1.7) & (r1 < 1 / 1.25),
    }
    medians = {
        kind: {p.parameter.name: float(p.value[where & maps.trusted].median()) for p in maps}
        for kind, where in tissue.items()
    }
    for kind, values in medians.items():
        print(name, kind, {key: number(value) for key, value in values.items()})
    for kind, (low, high) in (("white", white), ("grey", grey)):
        assert low < medians[kind]["F"] < high
        assert 8e-6 < medians[kind]["T2r"] < 1.8e-5
    assert medians["white"]["kf"] > 1.7 * medians["grey"]["kf"]
    assert 0.5 < medians["grey"]["kf"] < medians["white"]["kf"] < 5
    if name == "qmt":  # the water of the slice agrees with the sign that its field map is given
        reversed_field = Measurement(data, QMT, mask=mask, known={**known, "B0": -known["B0"]})
        other = entry.estimator(entry.build(QMT)).estimate(reversed_field)
        assert maps.residual is not None
        assert other.residual is not None
        both = torch.isfinite(maps.residual) & torch.isfinite(other.residual)
        print(
            "sum of squares, field as given over reversed:",
            number(float((maps.residual[both] ** 2).sum() / (other.residual[both] ** 2).sum()), 5),
        )
        assert float((maps.residual[both] ** 2).sum()) < float((other.residual[both] ** 2).sum())


def test_lines_and_asymmetry_of_a_brain(test_data: Callable[[str], Path]) -> None:
    """3800 voxels of one slice, 93 offsets, noise 0.5 %: water shift, amplitudes and asymmetry are those of a brain."""
    with np.load(test_data("brain_cest_zspectrum_93offsets_half1") / "zspec.npz") as held:
        data = torch.from_numpy(held["z"]).movedim(-1, 0)
        acquisition = ZSpectrum(offset=tuple(float(d) for d in held["offsets_ppm"]))
    mask = data[0] > 0.3
    entry = CATALOGUE["cest-lorentz"]
    lines = entry.estimator(entry.build(acquisition)).estimate(Measurement(data, acquisition, mask=mask))
    some = mask & torch.isfinite(lines.value).all(0)
    assert int(some.sum()) > 0.99 * int(mask.sum())
    quantiles = {
        m.parameter.name: torch.quantile(m.value[some], torch.tensor([0.05, 0.5, 0.95])).tolist()
        for m in lines
    }
    for name, values in quantiles.items():
        print(f"{name:14}", *(number(v) for v in values))
    assert all(abs(v) < 0.1 for v in quantiles["dB0"])
    # the shift of the dip itself, where the 0.2 ppm between samples leave no doubt
    dip = torch.tensor(acquisition.offset)[data.argmin(0)]
    assert float((dip - lines["dB0"].value)[some].abs().quantile(0.99)) < 0.25
    for name, low, high in (("A_amide", 0.02, 0.15), ("A_noe", 0.05, 0.25), ("A_mt", 0.03, 0.2)):
        assert low < quantiles[name][1] < high, name
    white, fluid = _white_and_fluid(lines["A_mt"].value, lines["A_water"].value, some)
    for name in ("A_mt", "A_noe"):
        assert float(lines[name].value[white].median()) > 2 * float(lines[name].value[fluid].median())

    entry = CATALOGUE["cest-asymmetry"]
    model = entry.build(acquisition, shift=3.5, window=0.5, normalised=True)
    known = {"dB0": torch.where(some, lines["dB0"].value, torch.zeros(()))}
    found = entry.estimator(model).estimate(Measurement(data, acquisition, mask=some, known=known))["MTRasym"]
    middle = float(found.value[some].median())
    print(
        "MTRasym of 3.25 to 3.75 ppm:",
        number(middle),
        "%, standard deviation",
        number(float(found.standard_deviation[some].median())),
    )
    assert -15 < middle < -3  # NOE and the semi-solid pool outweigh the amide at high fields
    assert float(found.value[white].median()) < float(found.value[fluid].median()) - 3


def _white_and_fluid(
    mt: torch.Tensor, water: torch.Tensor, inside: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The fifth of the voxels with the deepest semi-solid line, and the twentieth with the deepest water line."""
    deep = inside & (mt > torch.quantile(mt[inside], 0.8))
    return deep, inside & (water > torch.quantile(water[inside], 0.95))


def test_amide_line_follows_the_known_fraction(test_data: Callable[[str], Path]) -> None:
    """Bloch-McConnell phantom of another group, amide fractions 1 : 2 : 3 : 4: the line's depth rises with them."""
    with np.load(test_data("cest_5pool_bm_simulated_phantom") / "zspec.npz") as held:
        data = torch.from_numpy(held["img"]).movedim(-1, 0)
        acquisition = ZSpectrum(offset=tuple(float(d) for d in held["offsets_ppm"]))
        regions, count = ndimage.label(held["roi"])
    assert count == 4
    entry = CATALOGUE["cest-lorentz"]
    depths = []
    for label in range(1, 5):
        chosen = torch.from_numpy(regions == label)
        model = entry.build(acquisition, pools="5")
        maps = entry.estimator(model).estimate(Measurement(data, acquisition, mask=chosen))
        depth = maps["A_amide"].value[chosen]
        depths.append(float(depth.nanmedian()))
        centre = np.argwhere(regions == label).mean(0).round().astype(int)
        print(
            "region at",
            centre.tolist(),
            "amide depth",
            number(depths[-1]),
            "spread",
            number(float(depth.std())),
        )
    # the fractions are known, which region has which is not told: equal steps make the depths follow them
    steps = np.diff(sorted(depths))
    assert steps.min() > 0.012
    assert steps.max() < 1.15 * steps.min()
