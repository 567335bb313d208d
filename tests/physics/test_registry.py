"""Every signal model passes the same checks: derivatives, batching, precision, formula, structure, ranges."""

from __future__ import annotations

import inspect

import pytest
import torch

from fastqmri.physics import signal as signal_package
from fastqmri.physics import spins as spins_package
from fastqmri.physics.signal import SignalModel
from physics import checks
from physics.checks import Case
from physics.registry import CASES

each_model = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
SEPARABLE = [case for case in CASES if case.build().separable() is not None]
WRITTEN = [case for case in CASES if case.symbols is not None]
BY_SCHEDULE = [(case, name) for case in CASES for name in case.schedule]
LOG_LINEAR = [case for case in CASES if case.build().log_linear() is not None]


def test_every_model_is_registered() -> None:
    known = {
        value
        for package in (signal_package, spins_package)
        for value in vars(package).values()
        if inspect.isclass(value) and issubclass(value, SignalModel) and not inspect.isabstract(value)
    }
    assert known == {type(case.build()) for case in CASES}


@each_model
def test_jacobian(case: Case, generator: torch.Generator) -> None:
    checks.check_jacobian(case.build(), case.tissue(generator, (97,)))


@each_model
def test_reverse_mode(case: Case, generator: torch.Generator) -> None:
    checks.check_reverse(case.build(), case.tissue(generator, (97,)), generator)


@pytest.mark.parametrize(("case", "name"), BY_SCHEDULE, ids=lambda part: getattr(part, "name", part))
def test_derivatives_by_the_schedule(case: Case, name: str, generator: torch.Generator) -> None:
    checks.check_schedule(case.build(), case.tissue(generator, (7,)), name, generator)


@each_model
def test_evaluate(case: Case, generator: torch.Generator) -> None:
    checks.check_evaluate(case.build(), case.tissue(generator))


@each_model
def test_batch_equals_loop(case: Case, generator: torch.Generator) -> None:
    checks.check_batch(case.build(), case.tissue(generator))


@each_model
def test_single_precision(case: Case, generator: torch.Generator) -> None:
    checks.check_precision(case.build(), case.tissue(generator, (997,)))


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case.name)
def test_equation(case: Case, generator: torch.Generator) -> None:
    assert case.symbols is not None
    checks.check_equation(case.build(), case.tissue(generator, (97,)), case.symbols)


@each_model
def test_derived(case: Case, generator: torch.Generator) -> None:
    checks.check_derived(case.build(), case.tissue(generator, (97,)))


@pytest.mark.parametrize("case", SEPARABLE, ids=lambda case: case.name)
def test_separable(case: Case, generator: torch.Generator) -> None:
    checks.check_separable(case, case.build(), case.tissue(generator, (97,)))


@pytest.mark.parametrize("case", LOG_LINEAR, ids=lambda case: case.name)
def test_log_linear(case: Case, generator: torch.Generator) -> None:
    checks.check_log_linear(case.build(), case.tissue(generator, (97,)))


@each_model
def test_ranges(case: Case) -> None:
    checks.check_ranges(case.build())


@each_model
def test_signal_is_proportional_to_the_amplitudes(case: Case, generator: torch.Generator) -> None:
    model, x = case.build(), case.tissue(generator, (31,))
    amplitudes = [i for i, p in enumerate(model.parameters) if p.unit == "arbitrary"]
    assert amplitudes[0] == 0
    scaled = x.clone()
    scaled[amplitudes] *= 3.5
    checks.assert_close(model(scaled), 3.5 * model(x), 1e-13, "amplitude")


@each_model
def test_starting_values_lie_inside_the_bounds(case: Case, generator: torch.Generator) -> None:
    model, x = case.build(), case.tissue(generator, (211,))
    data = model(x)
    noise = torch.randn(data.shape, dtype=torch.float64, generator=generator)
    start = (model.signed() or model).start(data + 0.1 * noise)
    lower, upper = model.bounds(start)
    assert start.shape == x.shape
    assert bool(((start >= lower) & (start <= upper)).all())


@each_model
def test_says_where_it_comes_from(case: Case) -> None:
    model = case.build()
    assert model.title
    assert model.references
    assert "Source:" in (type(model).__doc__ or "")
