"""The catalogue's entries, and what estimators refuse to start with."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from estimators.scans import METHOD_NAMES, METHODS, scan
from fastqmri.core import (
    AcquisitionError,
    DataError,
    Estimator,
    FastqmriError,
    InversionRecovery,
    Measurement,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    ShapeError,
    UnknownNameError,
    references,
)
from fastqmri.estimators import CATALOGUE, entry, least_squares
from fastqmri.estimators.catalogue import Entry
from fastqmri.physics.signal import ExponentialDecay, InversionRecoverySignal


@pytest.mark.parametrize(("found", "method"), METHODS, ids=METHOD_NAMES)
def test_entries_are_consistent(found: Entry, method: str, generator: torch.Generator) -> None:
    made = scan(found.name, (3,), 100, generator)
    assert isinstance(made.model.acquisition, found.acquisition)
    estimator = found.estimator(made.model, method)
    assert isinstance(estimator, Estimator)
    assert estimator.name == method
    maps = estimator.estimate(made.measurement)
    everything = {p.name for p in made.model.parameters} | {d.parameter.name for d in made.model.derived}
    assert set(maps.names) <= everything
    optional = {"offset", "inversion_factor"}
    if found.name == "cest-lorentz":
        optional |= {name for name in found.outputs if name.endswith("amine") or name.startswith("d_")}
    if "water" in found.options:
        optional |= {"T1", "T2", "f_glutamate", "k_amine"}
    assert set(found.outputs) - optional <= set(maps.names)
    assert found.method(method).description
    for key in (*found.method(method).references, *made.model.references):
        assert references.citation(key)


@pytest.mark.parametrize("found", CATALOGUE.values(), ids=list(CATALOGUE))
def test_the_first_method_is_the_default(found: Entry) -> None:
    assert found.method() is found.methods[0]
    assert entry(found.name) is found
    with pytest.raises(UnknownNameError, match=found.methods[-1].name):
        found.method("magic")


def test_unknown_entries_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="vfa"):
        entry("vfaa")


@pytest.mark.parametrize(("found", "method"), METHODS, ids=METHOD_NAMES)
def test_estimates_agree_with_the_truth(found: Entry, method: str, generator: torch.Generator) -> None:
    # without noise to speak of, all but the ill-conditioned sums of exponentials return what was put in
    made = scan(found.name, (5, 3), 1e5, generator)
    maps = made.estimate(method)
    wide = {"biexponential": 0.1, "ivim": 0.01, "qmt-bssfp": 0.01, "mtc-mrf": 0.06, "cest-bm": 0.01}
    wide["cest-lorentz"] = 0.02
    tolerance = wide.get(found.name, 2e-3)
    if method == "matching":
        tolerance = 0.05  # a grid has steps
    # a refocusing angle beyond 180° is nearly its mirror image, and a few fits end on the wrong side
    # the exchange rate of a fingerprint is weakly determined, and a few fits don't settle (and say so)
    share = {"mese-stimulated": 0.9, "mtc-mrf": 0.8}.get(found.name, 1.0)
    for parameter, row in zip(made.model.parameters, made.truth, strict=True):
        if parameter.name in maps:
            scale = row.abs().clamp_min(1e-4 if parameter.unit == "mm2/s" else 1e-2)
            apart = (maps[parameter.name].value - row).abs() / scale
            assert float((apart < tolerance).float().mean()) >= share, parameter.name


@pytest.mark.parametrize("option", ["magnitude", "real", "complex"])
@pytest.mark.parametrize("inversion", ["free", "perfect"])
def test_inversion_recovery_of_every_kind(option: str, inversion: str, generator: torch.Generator) -> None:
    acquisition = scan("irt1", (1,), 50, generator).model.acquisition
    model = InversionRecoverySignal(acquisition, option, inversion)  # type: ignore[arg-type]
    t1 = torch.linspace(0.15, 4.0, 40, dtype=torch.float64)
    rows = [torch.ones_like(t1), t1]
    if inversion == "free":
        rows.append(torch.linspace(1.3, 2.0, 40, dtype=torch.float64).flip(0))
    if option == "complex":
        rows.append(torch.linspace(-3, 3, 40, dtype=torch.float64))
    signal = model(torch.stack(rows))
    found = CATALOGUE["irt1"].estimator(model).estimate(Measurement(signal, acquisition, noise=1e-4))
    torch.testing.assert_close(found["T1"].value.double(), t1, rtol=1e-3, atol=0)


@pytest.mark.parametrize("option", ["magnitude", "real", "complex"])
def test_t1_that_outlasts_the_inversion_times(option: str) -> None:
    # cerebrospinal fluid: even the last image lies before the null, and says nothing of the sign
    acquisition = InversionRecovery(inversion_time=(0.35, 0.65, 0.95, 1.25, 1.7))
    model = InversionRecoverySignal(acquisition, option)  # type: ignore[arg-type]
    t1 = torch.linspace(0.4, 5.0, 24, dtype=torch.float64)
    rows = [torch.ones_like(t1), t1, torch.full_like(t1, 1.95), torch.full_like(t1, 0.7)]
    signal = model(torch.stack(rows[: len(model.parameters)]))
    found = CATALOGUE["irt1"].estimator(model).estimate(Measurement(signal, acquisition, noise=1e-4))
    torch.testing.assert_close(found["T1"].value.double(), t1, rtol=1e-3, atol=0)


def test_kind_of_inversion_recovery_images() -> None:
    made = scan("irt1", (8, 9), 50, torch.Generator().manual_seed(1))
    options = CATALOGUE["irt1"].options_for
    assert options(made.measurement) == {"signal": "magnitude"}
    signed = made.measurement.data.clone()
    signed[0] *= -1
    assert options(replace(made.measurement, data=signed)) == {"signal": "real"}
    complexes = replace(made.measurement, data=signed.to(torch.complex64))
    assert options(complexes) == {"signal": "complex"}
    assert (
        CATALOGUE["vfa"].options_for(scan("vfa", (3,), 9, torch.Generator().manual_seed(1)).measurement) == {}
    )


@pytest.fixture
def decay() -> tuple[ExponentialDecay, Measurement]:
    made = scan("mese", (4, 3), 50, torch.Generator().manual_seed(1))
    assert isinstance(made.model, ExponentialDecay)
    return made.model, made.measurement


def test_another_acquisition_is_refused(decay: tuple[ExponentialDecay, Measurement]) -> None:
    model, measurement = decay
    times = measurement.acquisition.echo_time
    others = (
        MultiEchoSpinEcho(echo_time=tuple(1.01 * t for t in times)),
        MultiEchoGradientEcho(echo_time=times),
    )
    for other in others:
        with pytest.raises(AcquisitionError, match="was built for"):
            least_squares(model).estimate(replace(measurement, acquisition=other))
    same = MultiEchoSpinEcho(echo_time=times)
    assert least_squares(model).estimate(replace(measurement, acquisition=same)).flags.shape == (4, 3)


def test_unknown_maps_are_refused(decay: tuple[ExponentialDecay, Measurement]) -> None:
    model, measurement = decay
    with pytest.raises(UnknownNameError, match="B1"):
        least_squares(model).estimate(replace(measurement, known={"B1": torch.ones(4, 3)}))
    made = scan("vfa", (4, 3), 50, torch.Generator().manual_seed(1))
    with pytest.raises(UnknownNameError, match="It takes B1"):
        made.estimate(measurement=replace(made.measurement, known={"T1": torch.ones(4, 3)}))


def test_images_of_the_other_kind_are_refused(decay: tuple[ExponentialDecay, Measurement]) -> None:
    model, measurement = decay
    with pytest.raises(DataError, match="complex images"):
        least_squares(model).estimate(replace(measurement, data=measurement.data.to(torch.complex64)))
    made = scan("megre-complex", (4, 3), 50, torch.Generator().manual_seed(1))
    with pytest.raises(DataError, match="real images"):
        made.estimate(measurement=replace(made.measurement, data=made.measurement.data.abs()))


def test_measurements_that_hold_nothing_are_refused(decay: tuple[ExponentialDecay, Measurement]) -> None:
    _, measurement = decay
    broken: list[tuple[type[FastqmriError], dict[str, object]]] = [
        (DataError, {"data": torch.full_like(measurement.data, torch.nan)}),
        (DataError, {"mask": torch.zeros(4, 3, dtype=torch.bool)}),
        (ShapeError, {"mask": torch.ones(3, 4, dtype=torch.bool)}),
        (ShapeError, {"data": measurement.data[1:]}),
    ]
    for kind, changes in broken:
        with pytest.raises(kind):
            replace(measurement, **changes)  # type: ignore[arg-type]


def test_progress_reaches_the_end_once(decay: tuple[ExponentialDecay, Measurement]) -> None:
    model, measurement = decay
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[0, 0] = False
    calls: list[tuple[int, int]] = []
    estimator = least_squares(model, chunk=4, progress=lambda done, total: calls.append((done, total)))
    estimator.estimate(replace(measurement, mask=mask))
    assert [done for done, _ in calls] == [4, 8, 11]
    assert {total for _, total in calls} == {11}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int16, torch.uint8])
def test_any_number_type_will_do(dtype: torch.dtype, decay: tuple[ExponentialDecay, Measurement]) -> None:
    model, measurement = decay
    data = (100 * measurement.data).round()
    wanted = least_squares(model).estimate(replace(measurement, data=data))
    found = least_squares(model).estimate(replace(measurement, data=data.to(dtype)))
    assert torch.equal(found.value, wanted.value)
    assert torch.equal(found.flags, wanted.flags)
