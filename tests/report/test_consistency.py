"""The k-space panel: its numbers are the residual's, and they reach the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fastqmri.estimators.reconstruction.noise import sample_distance
from fastqmri.physics.encoding import CartesianEncoding, synthetic_sensitivities, variable_density_lines
from fastqmri.report import write_report
from fastqmri.report.consistency import ConsistencyTally, KSpaceConsistency
from report.samples import sample

MATRIX, COILS, CONTRASTS, NOISE = (32, 48), 3, 4, 0.02


def _tally(generator: torch.Generator, misfit: float = 0.0, slices: int = 2) -> KSpaceConsistency:
    coils = synthetic_sensitivities(MATRIX, COILS, generator=generator)
    mask = variable_density_lines(MATRIX[1], CONTRASTS, 3.0, generator=generator)[:, None]
    encoding = CartesianEncoding(coils, mask)
    tally = ConsistencyTally(CONTRASTS)
    for index in range(slices):
        images = torch.randn(CONTRASTS, *MATRIX, dtype=torch.complex64, generator=generator)
        clean = encoding(images)
        noise = NOISE * 2**0.5 * torch.randn(clean.shape, dtype=clean.dtype, generator=generator)
        data = encoding.sampling(clean + noise)
        position = sample_distance(encoding, data.real)
        tally.add(data, (1 - misfit) * clean, position, mask, noise=NOISE, picture=index == 0)
    return tally.result()


def test_noise_alone_leaves_one_noise(generator: torch.Generator):
    found = _tally(generator)
    assert found.residual_over_noise == pytest.approx(1, abs=0.03)
    assert found.acceleration == pytest.approx(3, rel=1e-9)
    assert found.coils == COILS
    seen = found.residual[np.isfinite(found.residual)]
    assert np.allclose(seen, NOISE * 2**0.5, rtol=0.4)


def test_a_misfit_shows(generator: torch.Generator):
    found = _tally(generator, misfit=0.1)
    noise = NOISE * (2 * COILS) ** 0.5  # of images whose power is one, shared by the coils
    assert found.relative == pytest.approx(np.hypot(0.1, noise), rel=0.05)
    assert found.residual_over_noise > 2


def test_a_tally_goes_on_from_its_state(generator: torch.Generator):
    first = ConsistencyTally(CONTRASTS)
    data = torch.randn(CONTRASTS, COILS, *MATRIX, dtype=torch.complex64, generator=generator)
    mask = torch.ones(1, *MATRIX, dtype=torch.bool)
    encoding = CartesianEncoding(torch.ones(COILS, *MATRIX, dtype=data.dtype), mask)
    position = sample_distance(encoding, data.real)
    slices = [(data, 0.9 * data), (2 * data, data)]
    first.add(*slices[0], position, mask, noise=NOISE, picture=True)
    second = ConsistencyTally(CONTRASTS)
    second.restore(first.state(), first.picture)
    for tally in (first, second):
        tally.add(*slices[1], position, mask, noise=NOISE)
    for name, value in vars(first.result()).items():
        assert np.array_equal(value, getattr(second.result(), name), equal_nan=True), name


def test_what_was_not_measured_is_not_counted(generator: torch.Generator):
    found = _tally(generator, slices=1)
    assert found.plane is not None
    assert np.isnan(found.plane).mean() == pytest.approx(2 / 3, abs=1e-9)


def test_the_page_and_the_metrics_show_it(tmp_path: Path, generator: torch.Generator):
    content = replace(sample(), kspace=_tally(generator, misfit=0.1))
    write_report(tmp_path / "report.html", content)
    page = (tmp_path / "report.html").read_text()
    assert "of the measured k-space unexplained" in page
    assert "from k-space of 3 channels, undersampled 3.00-fold, in 4 contrasts" in page
    record = json.loads((tmp_path / "metrics.json").read_text())["kspace"]
    assert 0.1 < record["relative_residual"] < 0.12
    write_report(tmp_path / "plain" / "report.html", sample())
    assert "k-space" not in (tmp_path / "plain" / "report.html").read_text()
