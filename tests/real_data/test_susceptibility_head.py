"""A head of a template's tissues and an atlas's nuclei, from wrapped phases with a sinus to susceptibility."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fastqmri.core import Measurement, MultiEchoGradientEcho
from fastqmri.estimators.susceptibility import SusceptibilityMapping
from fastqmri.phantoms import gradient_echoes, load_anatomy, susceptibility_head
from fastqmri.phantoms.susceptibility import HEAD_CHI

TIMES = (0.004, 0.014, 0.024)
NUCLEI = ("caudate", "putamen", "globus pallidus", "red nucleus", "substantia nigra")
SIDES, EDGE = (64, 72, 64), 3.0


def test_means_of_deep_nuclei(test_data) -> None:  # type: ignore[no-untyped-def]
    anatomy = load_anatomy("mni152", test_data("template_cit168_subcortical_labels").parent)
    generator = torch.Generator().manual_seed(3)
    head = susceptibility_head(
        SIDES, generator=generator, anatomy=anatomy, voxel_size=EDGE, texture=0.0, calcification=False
    )
    for name in NUCLEI:
        where = head.labels == head.names.index(name)
        # as many mm³ as in the atlas, but for what veins cover
        there = int((anatomy.labels == anatomy.names.index(name)).sum())
        assert int(where.sum()) * EDGE**3 == pytest.approx(there, rel=0.15), name
        assert float(head.maps["chi"][where].mean()) == pytest.approx(HEAD_CHI[name])
    scan = gradient_echoes(head, generator=generator, echo_times=TIMES, snr=100, background=True, padding=1.5)
    inside = head.mask
    assert float(scan.field[0][inside].abs().max()) * scan.radians_per_ppm(2) > 2 * math.pi  # there are wraps
    measurement = Measurement(
        scan.images[0], MultiEchoGradientEcho(echo_time=TIMES), inside, affine=head.affine
    )
    got = SusceptibilityMapping(3.0, background="pdf").estimate(measurement)["Chi"].value
    means = [
        [float(chi[head.labels == head.names.index(name)].mean()) for name in NUCLEI]
        for chi in (head.maps["chi"], got)
    ]
    assert bool(torch.isfinite(got[inside]).all())
    slope, _ = np.polyfit(*means, 1)
    assert slope == pytest.approx(1, abs=0.1), means
    assert np.corrcoef(means)[0, 1] > 0.98, means


@pytest.mark.parametrize("subject", ["brainweb-04"])
def test_a_person_has_a_head(test_data, subject) -> None:  # type: ignore[no-untyped-def]
    anatomy = load_anatomy(subject, test_data("brainweb_3d_tissue_s4_s5_s6").parent)
    head = susceptibility_head(
        SIDES, generator=torch.Generator().manual_seed(3), anatomy=anatomy, voxel_size=EDGE
    )
    volume = float((anatomy.labels > 0).sum())
    assert float(head.mask.sum()) * EDGE**3 == pytest.approx(volume, rel=0.02)
    assert {"grey matter", "white matter", "cerebrospinal fluid", "blood"} <= set(head.names)
    assert set(head.maps["chi"][~head.mask].unique().tolist()) == {-2.0, 0.0, 9.4}
