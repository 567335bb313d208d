"""Formulas that solve a model outright: their claim against the spread of many noisy repeats; unwrapping."""

from __future__ import annotations

import builtins
import math

import pytest
import torch

from estimators.scans import repeated
from fastqmri.core import Measurement, MultiEchoGradientEcho
from fastqmri.estimators import CATALOGUE
from fastqmri.physics.signal import PhaseEvolution
from physics.registry import BY_NAME

TISSUE = {
    "mtr": [1000.0, 35.0],
    "mtsat": [1000.0, 1.2, 1.5, 1.05],
    "b1-afi": [1000.0, 0.95],
    "b1-dam": [1000.0, 0.9],
    "mpm": [1000.0, 1.2, 0.03, 1.5, 1.05],
}


@pytest.mark.parametrize("name", TISSUE)
@pytest.mark.parametrize("row", [0, -1])
def test_claimed_spread_is_the_spread(name: str, row: int, generator: torch.Generator) -> None:
    """4000 repeats at SNR 200, the first and the last method: standard deviations are claimed to 5 %."""
    model = BY_NAME[name].build()
    entry = CATALOGUE[name]
    scan = repeated(model, TISSUE[name], 200, 4000, generator)
    known = {
        p.name: torch.full((4000,), v)
        for p, v in zip(model.parameters, TISSUE[name], strict=True)
        if p.nominal is not None
    }
    scan = Measurement(scan.data, scan.acquisition, known=known, noise=scan.noise, saturation=math.inf)
    maps = entry.estimator(model, entry.methods[row].name).estimate(scan)
    for map_ in maps:
        value, claimed = map_.value.double(), float(map_.standard_deviation.median())
        assert float(value.std()) == pytest.approx(claimed, rel=0.05), map_.parameter.name
        truth = dict(zip((p.name for p in model.parameters), TISSUE[name], strict=True))
        if map_.parameter.name in truth:
            bias = abs(float(value.mean()) - truth[map_.parameter.name])
            assert bias < 0.1 * claimed, map_.parameter.name


@pytest.mark.parametrize("name", ["mtr", "mtsat", "b1-afi", "b1-dam", "b0"])
def test_closed_form_is_the_least_squares_solution(name: str, generator: torch.Generator) -> None:
    model = BY_NAME[name].build()
    x = BY_NAME[name].tissue(generator, (61,))
    data = model(x)
    known = {p.name: row for p, row in zip(model.parameters, x, strict=True) if p.nominal is not None}
    noise = torch.randn(data.shape, dtype=torch.float64, generator=generator)
    data = data * (1 + 1e-4 * noise)
    scan = Measurement(data, model.acquisition, known=known, noise=1e-4, saturation=math.inf)
    entry = CATALOGUE[name]
    first, second = (entry.estimator(model, m).estimate(scan) for m in (entry.methods[0].name, "nlls"))
    same = (first.flags == 0) & (second.flags == 0)
    assert float(same.double().mean()) > 0.9
    spread = second.standard_deviation.clamp_min(1e-6)
    apart = ((first.value - second.value).abs() / spread)[:, same]
    assert float(apart.max()) < 1e-3


def ramp(shape: tuple[int, ...], hertz: float) -> torch.Tensor:
    """A field that climbs by so much along the first axis."""
    axis = torch.linspace(-0.5, 0.5, shape[0], dtype=torch.float64) * hertz
    return axis.view(-1, *(1,) * (len(shape) - 1)).expand(shape)


def field_scan(b0: torch.Tensor, mask: torch.Tensor) -> tuple[PhaseEvolution, Measurement]:
    model = PhaseEvolution(MultiEchoGradientEcho(echo_time=(0.00492, 0.00738)))
    x = torch.stack([torch.ones_like(b0), 0.9 * torch.ones_like(b0), b0, 0.4 * torch.ones_like(b0)])
    return model, Measurement(model(x), model.acquisition, mask=mask, noise=0.01)


@pytest.mark.parametrize("shape", [(40, 9, 5), (40, 9, 1), (40, 9)])
def test_wraps_between_neighbours_are_removed(shape: tuple[int, ...]) -> None:
    b0 = ramp(shape, 900.0)  # 2.2 turns of 407 Hz
    mask = torch.ones(shape, dtype=torch.bool)
    model, scan = field_scan(b0, mask)
    entry = CATALOGUE["b0"]
    wrapped = entry.estimator(model, "line").estimate(scan)["B0"].value
    assert float((wrapped - b0).abs().max()) > 400
    maps = entry.estimator(model).estimate(scan)
    torch.testing.assert_close(maps["B0"].value.double(), b0, rtol=0, atol=1e-2)
    assert any("Wraps between neighbours were removed" in note for note in maps.notes)


def test_each_region_lies_nearest_to_zero() -> None:
    b0 = ramp((41, 12), 300.0) + 900.0
    mask = torch.ones(41, 12, dtype=torch.bool)
    mask[:, 6] = False
    model, scan = field_scan(b0, mask)
    maps = CATALOGUE["b0"].estimator(model).estimate(scan)
    turn = 1 / 0.00246
    found = maps["B0"].value[mask].double() - b0[mask]
    torch.testing.assert_close(found, torch.full_like(found, -2 * turn), rtol=0, atol=1e-2)


def test_without_the_library_wraps_stay_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model, scan = field_scan(ramp((40, 9), 900.0), torch.ones(40, 9, dtype=torch.bool))
    real = builtins.__import__

    def without(name: str, *arguments: object, **more: object) -> object:
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    entry = CATALOGUE["b0"]
    maps = entry.estimator(model).estimate(scan)
    assert torch.equal(maps.value, entry.estimator(model, "line").estimate(scan).value)
    assert any("fastqmri[unwrap]" in note for note in maps.notes)
