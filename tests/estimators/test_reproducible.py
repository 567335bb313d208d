"""Same input, same bytes: whatever the chunk, the number of threads or the memory layout; any unit will do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from estimators.scans import EACH_METHOD, same_bytes, scan
from fastqmri.estimators.catalogue import Entry

each_method = pytest.mark.parametrize(("entry", "method"), EACH_METHOD)
VOXELS = (7, 1, 19)


@each_method
def test_chunks_and_repetitions(entry: Entry, method: str, generator: torch.Generator) -> None:
    made = scan(entry.name, VOXELS, 30, generator)
    whole = made.estimate(method)
    assert same_bytes(whole, made.estimate(method))
    for chunk in (50, 67):
        assert same_bytes(whole, made.estimate(method, chunk=chunk)), chunk


@pytest.mark.parametrize("name", ["vfa", "dti", "megre-complex"])
def test_voxel_by_voxel(name: str, generator: torch.Generator) -> None:
    made = scan(name, (3, 1, 7), 30, generator)
    assert same_bytes(made.estimate(), made.estimate(chunk=1))


@each_method
def test_chunks_of_images_with_holes(entry: Entry, method: str, generator: torch.Generator) -> None:
    made = scan(entry.name, VOXELS, 30, generator)
    holes = torch.rand(made.measurement.data.shape, generator=generator) < 0.01
    mask = torch.rand(VOXELS, generator=generator) < 0.8
    measurement = replace(
        made.measurement, data=made.measurement.data.masked_fill(holes, torch.nan), mask=mask
    )
    whole = made.estimate(method, measurement)
    assert same_bytes(whole, made.estimate(method, measurement, chunk=50))


@pytest.mark.parametrize("name", ["vfa", "irt1", "mese", "dti", "ivim"])
def test_chunks_of_rician_fits(name: str, generator: torch.Generator) -> None:
    made = scan(name, VOXELS, 12, generator)
    whole = made.estimate(noise="rician")
    assert same_bytes(whole, made.estimate(noise="rician", chunk=50))


@pytest.mark.parametrize("name", ["vfa", "mese", "megre-complex", "dti"])
def test_noise_found_in_the_data_does_not_depend_on_chunks(name: str, generator: torch.Generator) -> None:
    made = scan(name, VOXELS, 30, generator)
    blind = replace(made.measurement, noise=None, saturation=None)
    assert same_bytes(made.estimate(measurement=blind), made.estimate(measurement=blind, chunk=50))


@pytest.mark.parametrize("name", ["vfa", "mese", "dti", "biexponential", "megre-complex"])
def test_threads(name: str, generator: torch.Generator) -> None:
    made = scan(name, (3, 67, 71), 30, generator)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(made.estimate(chunk=4096))
    finally:
        torch.set_num_threads(before)
    assert same_bytes(*results)


@pytest.mark.parametrize("name", ["vfa", "dti"])
def test_memory_layout(name: str, generator: torch.Generator) -> None:
    made = scan(name, (5, 3, 7), 30, generator)
    data = made.measurement.data
    turned = data.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert not turned.is_contiguous()
    assert same_bytes(made.estimate(), made.estimate(measurement=replace(made.measurement, data=turned)))


@each_method
def test_unit_of_the_images(entry: Entry, method: str, generator: torch.Generator) -> None:
    made = scan(entry.name, VOXELS, 30, generator)
    plain = made.estimate(method)
    assert made.measurement.noise is not None
    for factor in (2.0**-40, 2.0**20):
        scaled = replace(
            made.measurement, data=made.measurement.data * factor, noise=made.measurement.noise * factor
        )
        found = made.estimate(method, scaled)
        assert torch.equal(found.flags, plain.flags)
        for parameter, value, wanted in zip(plain.parameters, found.value, plain.value, strict=True):
            unit = factor if parameter.unit == "arbitrary" else 1.0
            torch.testing.assert_close(value / unit, wanted, rtol=1e-4, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", ["vfa", "mese", "irt1", "dti", "adc"])
def test_compiled_or_not(name: str, generator: torch.Generator) -> None:
    from fastqmri.estimators import least_squares

    made = scan(name, VOXELS, 30, generator)
    fast, general = (least_squares(made.model, compiled=c).estimate(made.measurement) for c in (True, False))
    assert torch.equal(fast.flags, general.flags)
    apart = (fast.value - general.value).abs() / general.standard_deviation
    assert float(apart.max()) < 1e-2
    ratio = fast.standard_deviation / general.standard_deviation
    assert float((ratio - 1).abs().max()) < 1e-3
