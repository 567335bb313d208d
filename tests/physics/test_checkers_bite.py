"""The checks of the registry bite: faults are planted in sound models, and the checks must see them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fastqmri.core import Parameter
from fastqmri.physics.signal import Derived, ExponentialDecay, SignalModel, SpoiledGradientEcho
from fastqmri.physics.signal.model import LogLinear, Separable
from physics import checks
from physics.checks import Case
from physics.registry import BY_NAME


class Wrapped(SignalModel):
    """A sound model with one part replaced by a faulty one."""

    def __init__(self, sound: SignalModel, **faults: object) -> None:
        super().__init__(sound.acquisition, sound.parameters)
        self.equation, self.derived = sound.equation, sound.derived
        self.complex_valued = sound.complex_valued
        self._parts = {"sound": sound, **faults}  # in a dict: attributes would be registered as submodules

    def _ask(self, name: str, *arguments: object) -> object:
        return self._parts.get(name, getattr(self._parts["sound"], name))(*arguments)

    def forward(self, x: Tensor) -> Tensor:
        return self._ask("forward", x)

    def jacobian(self, x: Tensor) -> Tensor:
        return self._ask("jacobian", x)

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._ask("evaluate", x)

    def separable(self) -> Separable | None:
        return self._ask("separable")

    def log_linear(self, known: Mapping[str, Tensor] | None = None) -> LogLinear | None:
        return self._ask("log_linear", known)


def faulty(case: Case, **faults: object) -> SignalModel:
    return Wrapped(case.build(), **faults)


def tissue(case: Case, generator: torch.Generator) -> Tensor:
    return case.tissue(generator, (97,))


@pytest.mark.parametrize("name", ["vfa", "irt1-complex-free", "dti"])
def test_sound_models_pass_when_wrapped(name: str, generator: torch.Generator) -> None:
    case = BY_NAME[name]
    model, x = faulty(case), tissue(case, generator)
    checks.check_jacobian(model, x)
    checks.check_reverse(model, x, generator)
    checks.check_evaluate(model, x)
    checks.check_batch(model, x)
    checks.check_precision(model, x)
    checks.check_equation(model, x, case.symbols)
    checks.check_derived(model, x)


@pytest.mark.parametrize("name", ["vfa", "irt1-complex-free", "dti"])
@pytest.mark.parametrize("parameter", [0, 1, -1])
def test_wrong_jacobian(name: str, parameter: int, generator: torch.Generator) -> None:
    case = BY_NAME[name]
    sound = case.build()

    def wrong(x: Tensor) -> Tensor:
        jacobian = sound.jacobian(x).clone()
        jacobian[:, parameter] *= 1 + 1e-6
        return jacobian

    model, x = faulty(case, jacobian=wrong), tissue(case, generator)
    with pytest.raises(AssertionError, match="Jacobian"):
        checks.check_jacobian(model, x)
    with pytest.raises(AssertionError, match="reverse mode"):
        checks.check_reverse(model, x, generator)
    with pytest.raises(AssertionError, match="Jacobian of evaluate"):
        checks.check_evaluate(model, x)


def test_wrong_sign_of_one_entry(generator: torch.Generator) -> None:
    case = BY_NAME["ivim"]
    sound = case.build()

    def wrong(x: Tensor) -> Tensor:
        jacobian = sound.jacobian(x).clone()
        jacobian[4, 2] *= -1
        return jacobian

    with pytest.raises(AssertionError, match="Jacobian"):
        checks.check_jacobian(faulty(case, jacobian=wrong), tissue(case, generator))


@pytest.mark.parametrize(
    "equation",
    [
        "M0 * sin(FA) * (1 - exp(-TR/T1)) / (1 - exp(-TR/T1) * cos(FA))",
        "M0 * sin(B1*FA) * (1 - exp(-TR/T1)) / (1 + exp(-TR/T1) * cos(B1*FA))",
        "M0 * sin(B1*FA) * (1 - exp(-TR*T1)) / (1 - exp(-TR*T1) * cos(B1*FA))",
    ],
)
def test_wrong_equation(equation: str, generator: torch.Generator) -> None:
    case = BY_NAME["vfa"]
    model = faulty(case)
    model.equation = equation
    with pytest.raises(AssertionError, match="equation"):
        checks.check_equation(model, tissue(case, generator), case.symbols)


def test_equations_are_arithmetic_only() -> None:
    assert checks.evaluate_equation("-2*x^2 + 1", {"x": 3.0}) == -17
    for text in ("__import__('os')", "x.real", "[1]", "max(x)", "x if x else 1"):
        with pytest.raises((ValueError, KeyError)):
            checks.evaluate_equation(text, {"x": 1.0})


def test_coupled_voxels(generator: torch.Generator) -> None:
    case = BY_NAME["mese"]
    sound = case.build()

    def coupled(x: Tensor) -> Tensor:
        signal = sound(x)
        return signal * (1 + 1e-9 * signal.mean())

    with pytest.raises(AssertionError, match="batch against loop"):
        checks.check_batch(faulty(case, forward=coupled), case.tissue(generator))


def test_cancellation_in_single_precision(generator: torch.Generator) -> None:
    case = BY_NAME["vfa"]
    sound = case.build()
    assert isinstance(sound, SpoiledGradientEcho)

    def naive(x: Tensor) -> Tensor:
        m0, t1, b1 = x
        angle = b1 * sound.acquisition.tensor("flip_angle", like=x)[:, None]
        e = torch.exp(-sound.acquisition.repetition_time / t1)
        return m0 * torch.sin(angle) * (1 - e) / (1 - e * torch.cos(angle))

    with pytest.raises(AssertionError, match="float32 signal"):
        checks.check_precision(faulty(case, forward=naive), case.tissue(generator, (997,)))


def test_wrong_gradient_of_a_derived_quantity(generator: torch.Generator) -> None:
    case = BY_NAME["dti"]
    model = faulty(case)
    anisotropy = model.derived[0]

    def wrong(x: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = anisotropy.evaluate(x)
        return value, gradient * 1.0001

    model.derived = (Derived(anisotropy.parameter, wrong), *model.derived[1:])
    with pytest.raises(AssertionError, match="gradient of FA"):
        checks.check_derived(model, tissue(case, generator))


def _scaled(to_parameters: Callable[[Tensor], tuple[Tensor, Tensor]], value: float, slope: float) -> object:
    def wrong(z: Tensor) -> tuple[Tensor, Tensor]:
        x, jacobian = to_parameters(z)
        return x * value, jacobian * slope

    return wrong


@pytest.mark.parametrize(("value", "slope"), [(1.001, 1.001), (1.0, 1.001)])
def test_wrong_structure(value: float, slope: float, generator: torch.Generator) -> None:
    case = BY_NAME["mese"]
    sound = case.build()
    assert isinstance(sound, ExponentialDecay)
    structure = sound.separable()
    wrong = replace(structure, to_parameters=_scaled(structure.to_parameters, value, slope))
    with pytest.raises(AssertionError, match="parameters"):
        checks.check_separable(case, faulty(case, separable=lambda: wrong), tissue(case, generator))
    case = BY_NAME["adc"]
    line = case.build().log_linear()
    assert line is not None
    bent = replace(line, to_parameters=_scaled(line.to_parameters, value, slope))
    with pytest.raises(AssertionError, match="parameters"):
        checks.check_log_linear(faulty(case, log_linear=lambda known: bent), tissue(case, generator))


def test_wrong_basis(generator: torch.Generator) -> None:
    case = BY_NAME["mese"]
    structure = case.build().separable()
    assert structure is not None
    wrong = replace(structure, abscissa=structure.abscissa * 1.01)
    with pytest.raises(AssertionError, match="separable form"):
        checks.check_separable(case, faulty(case, separable=lambda: wrong), tissue(case, generator))


@pytest.mark.parametrize(
    ("bounds", "prior", "nominal"),
    [
        ((0.0, 1.0), (0.5, 1.5), None),
        ((0.5, 1.0), (0.1, 0.9), None),
        ((0.0, 2.0), (0.5, 1.5), 1.7),
        ((0.0, math.inf), (1.5, 0.5), None),
    ],
)
def test_ranges_that_contradict_each_other(
    bounds: tuple[float, float], prior: tuple[float, float], nominal: float | None
) -> None:
    model = faulty(BY_NAME["mese"])
    model.parameters = (model.parameters[0], Parameter("T2", "s", bounds, prior, "", nominal))
    with pytest.raises(AssertionError, match=r"T2|nominal|1\.7|"):
        checks.check_ranges(model)


def test_a_schedule_that_is_not_read_or_read_wrongly(generator: torch.Generator) -> None:
    case = BY_NAME["mese"]
    x = case.tissue(generator, (3,))

    class Detached(ExponentialDecay):  # type: ignore[misc]  # final for users; here it is a fault
        def forward(self, x: Tensor) -> Tensor:
            times = self.acquisition.tensor("echo_time")
            return super().forward(x) + 0.3 * x[0] * (times - times.detach())[:, None]

    acquisition = case.build().acquisition
    checks.check_schedule(ExponentialDecay(acquisition), x, "echo_time", generator)
    with pytest.raises(AssertionError, match="forward mode by echo_time"):
        checks.check_schedule(Detached(acquisition), x, "echo_time", generator)
    vfa = BY_NAME["vfa"]
    with pytest.raises(AssertionError, match="does not depend on repetition_time"):
        checks.check_schedule(vfa.build(), vfa.tissue(generator, (3,)), "repetition_time", generator)
