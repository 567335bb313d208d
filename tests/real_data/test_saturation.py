"""Magnetisation transfer and CEST of real brains and simulated phantoms that others made."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fastqmri.core import Measurement, QuantitativeMagnetizationTransfer
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
