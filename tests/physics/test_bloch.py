"""Bloch equations against closed forms, an ODE solver, finite differences, and both of their own forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from fastqmri.core import ShapeError
from fastqmri.physics.signal import pulse_shapes
from fastqmri.physics.spins import bloch
from fastqmri.physics.spins.bloch_signal import slice_profile
from fastqmri.physics.spins.sequence import (
    Delay,
    Pulse,
    PulseSequence,
    Readout,
    Spoiler,
    compose,
    inversion,
    selective,
    spoiling_phase,
    t2_preparation,
)

BOTH = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "plain"])


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def rows(*values: float | Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*(torch.as_tensor(v, dtype=torch.float64) for v in values)))


def simulate(
    sequence: PulseSequence,
    b1: float | Tensor = 1.0,
    b0: float | Tensor = 0.0,
    t1: float | Tensor = math.inf,
    t2: float | Tensor = math.inf,
    z: float | Tensor = 0.0,
    compiled: bool | None = None,
) -> Tensor:
    """(readout, 3, isochromat) from equilibrium, isochromats along z."""
    everything = rows(b1, b0, t1, t2, z).view(5, -1)
    steps = sequence.steps()
    position = torch.zeros_like(everything[:3])
    position[2] = everything[4]
    return bloch.isochromats(
        steps.fields, steps.readout, steps.spoiled, everything[:4], position, compiled=compiled
    )


def close(found: Tensor, wanted: Tensor | float, tolerance: float = 1e-12) -> None:
    wanted = torch.as_tensor(wanted, dtype=found.dtype)
    torch.testing.assert_close(found, wanted.expand_as(found), rtol=0, atol=tolerance)


def any_sequence(generator: torch.Generator, samples: int = 20) -> PulseSequence:
    """Pulses of every size and kind, gradients on all axes, spoilers, and several readouts."""
    shape = tuple(complex(v) for v in pulse_shapes.sinc(samples, 3.0).tolist())
    swept = pulse_shapes.hyperbolic_secant(samples)
    factors = torch.rand(samples, 3, dtype=torch.float64, generator=generator).tolist()
    return compose(
        Pulse(3.3, 0.0, phase=0.3),
        Spoiler(),
        Delay(0.013, (1e-3, -2e-3, 3e-3)),
        Pulse(0.4, 0.002, shape, 0.7, 150.0, (1e-3, 2e-3, -6e-3)),
        Readout(),
        Delay(0.004, (0.0, 1e-3, 3e-3)),
        Readout(0.4),
        Pulse.of_amplitude(800.0, 0.005, swept, phase=0.2),
        Delay(0.001),
        Pulse(1.1, 0.001, shape, -0.7, -90.0, (4e-3, 1e-3, 2e-3), tuple(map(tuple, factors))),
        Delay(0.0),
        Pulse(7.0),
        Readout(1.0),
    )


@BOTH
@pytest.mark.parametrize("phase", [0.0, 1.0, math.pi / 2, -2.3])
def test_hard_pulse_turns_by_its_angle(phase: float, compiled: bool) -> None:
    for angle in (0.01, 0.5, math.pi / 2, math.pi, 4.0, 40.0):
        found = simulate(
            compose(Pulse(angle, phase=phase), Readout()), tensor(0.7, 1.0, 1.2), compiled=compiled
        )
        turned = angle * tensor(0.7, 1.0, 1.2)
        transverse = torch.sin(turned) * np.exp(1j * phase)
        close(found[0, 0], transverse.real)
        close(found[0, 1], transverse.imag)
        close(found[0, 2], torch.cos(turned))


@BOTH
def test_free_precession_is_exact_in_one_step(compiled: bool) -> None:
    b0 = tensor(-913.0, -1.0, 0.0, 17.3, 5000.0)
    found = simulate(
        compose(Pulse(math.pi / 2), Delay(0.37), Readout()), 1.0, b0, 0.9, 0.11, compiled=compiled
    )
    signal = math.exp(-0.37 / 0.11) * torch.exp(2j * math.pi * b0 * 0.37)
    close(torch.complex(found[0, 0], found[0, 1]), signal, 1e-11)
    close(found[0, 2], 1 - math.exp(-0.37 / 0.9))


@BOTH
def test_off_resonant_hard_pulse_of_finite_length(compiled: bool) -> None:
    # a constant field turns about the effective axis: Rabi's formula
    duration, angle = 1e-3, 2.1
    b0 = tensor(-700.0, -20.0, 0.0, 333.0, 2000.0)
    found = simulate(compose(Pulse(angle, duration), Readout()), 1.0, b0, compiled=compiled)
    w1, dw = angle / duration, 2 * math.pi * b0
    effective = torch.sqrt(w1**2 + dw**2)
    close(found[0, 2], 1 - 2 * (w1 / effective) ** 2 * torch.sin(effective * duration / 2) ** 2)


def test_frequency_of_a_pulse_is_an_off_resonance_of_the_spins() -> None:
    shape = tuple(complex(v) for v in pulse_shapes.hann(2000).tolist())
    shifted = simulate(compose(Pulse(1.4, 0.004, shape, frequency=250.0), Readout()), b0=250.0)
    resonant = simulate(compose(Pulse(1.4, 0.004, shape), Readout()))
    close(shifted[0, 2], resonant[0, 2], 2e-6)  # the phase advances in steps
    # the phase is that of the middle of the pulse, 2 ms before the end
    turned = torch.complex(*resonant[0, :2]) * np.exp(2j * math.pi * 250 * 0.002)
    close(torch.complex(*shifted[0, :2]), turned, 2e-6)


def test_adiabatic_pulse_inverts_whatever_the_transmit_field() -> None:
    pulse = Pulse.of_amplitude(1200.0, 0.01, pulse_shapes.hyperbolic_secant(2000, 5.3, 4.9))
    b1, b0 = torch.meshgrid(
        torch.linspace(0.7, 1.5, 9, dtype=torch.float64), tensor(-300.0, 0.0, 300.0), indexing="ij"
    )
    found = simulate(compose(pulse, Readout()), b1.reshape(-1), b0.reshape(-1))
    assert float(found[0, 2].max()) < -0.98
    outside = simulate(compose(pulse, Readout()), 1.0, tensor(-1500.0, 1500.0))
    assert float(outside[0, 2].min()) > 0.98


def test_preparations() -> None:
    t1, t2 = tensor(0.5, 1.0, 3.0), tensor(0.02, 0.08, 0.3)
    found = simulate(compose(inversion(0.4), Pulse(math.pi / 2), Readout()), t1=t1, t2=t2)
    close(found[0, 0], (1 - 2 * torch.exp(-0.4 / t1)))
    for number in (2, 4):
        sequence = compose(t2_preparation(0.05, number), Pulse(math.pi / 2), Readout())
        close(simulate(sequence, t1=t1, t2=t2)[0, 0], torch.exp(-0.05 / t2))
        # refocused: off-resonance does not matter
        close(simulate(sequence, b0=tensor(-40.0, 7.0), t2=0.08)[0, 0], math.exp(-0.05 / 0.08))


def bloch_ode(pulse: Pulse, z: float, b0: float, t1: float, t2: float) -> np.ndarray:
    """Magnetisation after a pulse, its samples constant in between, by an adaptive solver."""
    area = abs(sum(pulse.shape))
    count = len(pulse.shape)
    length = pulse.duration / count
    m = np.array([0.0, 0.0, 1.0])
    gradient = 2 * math.pi * 42.577478518e6 * pulse.gradient[2] * z + 2 * math.pi * b0
    for j, sample in enumerate(pulse.shape):
        w = 1j * pulse.flip_angle * sample / area / length * np.exp(1j * pulse.phase)

        def slope(_: float, v: np.ndarray, w: complex = w) -> np.ndarray:
            turn = np.cross([w.real, w.imag, gradient], v)
            return turn - np.array([v[0] / t2, v[1] / t2, (v[2] - 1) / t1])

        m = solve_ivp(slope, (j * length, (j + 1) * length), m, rtol=1e-11, atol=1e-12).y[:, -1]
    return m


@BOTH
def test_shaped_pulse_with_gradient_against_an_ode_solver(compiled: bool) -> None:
    shape = pulse_shapes.sinc(250, 4.0, "hamming")
    pulse, _ = selective(math.pi / 2, 2e-3, shape, 5e-3, 4.0, phase=0.6)
    z, b0 = tensor(-3e-3, 0.0, 1e-3, 2.4e-3), tensor(30.0, 0.0, -80.0, 200.0)
    found = simulate(compose(pulse, Readout()), 1.0, b0, 1.0, 0.05, z, compiled=compiled)
    wanted = [bloch_ode(pulse, float(p), float(f), 1.0, 0.05) for p, f in zip(z, b0, strict=True)]
    close(found[0].T, torch.tensor(np.array(wanted)), 1e-6)


def test_small_tip_profile_is_the_spectrum_of_the_pulse() -> None:
    samples, duration, angle = 400, 2e-3, 0.01
    pulse, _ = selective(angle, duration, pulse_shapes.sinc(samples, 6.0), 4e-3, 6.0)
    z = torch.linspace(-6e-3, 6e-3, 101, dtype=torch.float64)
    profile = slice_profile(pulse, z)
    time = (torch.arange(samples, dtype=torch.float64) + 0.5) * duration / samples
    wave = torch.tensor(pulse.shape).real
    wave = wave / wave.sum()
    turn = 2 * math.pi * 42.577478518e6 * pulse.gradient[2] * z
    # after its sample, magnetisation precesses to the end of the pulse
    spectrum = (wave * torch.exp(1j * turn[:, None] * (duration - time))).sum(1)
    half = torch.sinc(turn * duration / samples / (2 * math.pi))  # a sample lasts
    close(profile.transverse / angle, spectrum * half, 3e-5)
    inside = z.abs() < 0.8e-3
    close(profile.flip_fraction[inside], 1.0, 0.04)


def test_refocusing_fraction_is_that_of_crushed_spin_echoes() -> None:
    # between crushers a spin echo keeps |β|² = sin²(half the turn) of the magnetisation
    pulse, _ = selective(math.pi, 3e-3, pulse_shapes.sinc(300, 3.0), 5e-3, 3.0, phase=math.pi / 2)
    z = tensor(0.0, 1.5e-3, 2.3e-3, 3.1e-3)
    fraction = slice_profile(pulse, z).flip_fraction
    crusher = torch.arange(16, dtype=torch.float64) * 2 * math.pi / 16
    steps = compose(pulse, Readout()).steps()
    tissue = rows(1.0, 0.0, math.inf, math.inf).view(4, 1).expand(4, 64)
    place = torch.zeros(3, 64, dtype=torch.float64)
    place[2] = z.repeat_interleave(16)
    start = torch.stack([torch.cos(crusher), torch.sin(crusher), 0 * crusher]).repeat(1, 4)
    x, y, _ = bloch.isochromats(steps.fields, steps.readout, steps.spoiled, tissue, place, start)[0]
    echo = (torch.complex(x, y) * torch.exp(1j * crusher.repeat(4))).view(4, 16).mean(1)
    close(echo.abs(), torch.sin(fraction * math.pi / 2) ** 2, 1e-9)


def test_balanced_steady_state() -> None:
    # Freeman and Hill: alternating phases, echo half way, on resonance
    t1, t2, repetition, angle = 0.9, 0.09, 0.005, math.radians(40)
    half = Delay(repetition / 2)
    phases = [math.pi * (i % 2) for i in range(1600)]
    train = [(Pulse(angle, phase=phase), half, Readout(phase), half) for phase in phases]
    found = simulate(compose(train), t1=t1, t2=t2)[-2:, 0, 0]
    e1, e2 = math.exp(-repetition / t1), math.exp(-repetition / t2)
    wanted = (1 - e1) * math.sin(angle) / (1 - (e1 - e2) * math.cos(angle) - e1 * e2) * math.sqrt(e2)
    close(found.abs(), wanted, 1e-8)


def test_ideal_spoiling_gives_the_ernst_signal() -> None:
    t1, repetition, angle = tensor(0.3, 0.8, 1.4), 0.02, math.radians(17)
    train = [(Pulse(angle), Readout(), Delay(repetition), Spoiler()) for _ in range(1200)]
    found = simulate(compose(train), t1=t1, t2=0.08)[-1, 0]
    e1 = torch.exp(-repetition / t1)
    close(found, math.sin(angle) * (1 - e1) / (1 - e1 * math.cos(angle)), 1e-8)


def test_gradient_and_radio_frequency_spoiling_come_close_to_it() -> None:
    repetition, angle, spins = 0.01, math.radians(15), 64
    moment = 2 * math.pi / 1e-3
    gradient = moment / (2 * math.pi * 42.577478518e6 * repetition)
    train = []
    for i in range(500):
        phase = spoiling_phase(i)
        train += [Pulse(angle, phase=phase), Readout(phase), Delay(repetition, (0.0, 0.0, gradient))]
    sequence = compose(train)
    z = (torch.arange(spins, dtype=torch.float64) + 0.5) * 1e-3 / spins
    found = simulate(sequence, t1=0.8, t2=0.05, z=z)[-20:, :2].mean(2)
    e1 = math.exp(-repetition / 0.8)
    wanted = math.sin(angle) * (1 - e1) / (1 - e1 * math.cos(angle))
    close(found.norm(dim=1) / wanted, 1.0, 0.02)


@pytest.mark.parametrize("samples", [5, 20, 300])
def test_forms_agree(samples: int, generator: torch.Generator) -> None:
    # the finer the pulses are sampled, the fewer terms the kernel takes
    sequence = any_sequence(generator, samples)
    b1 = 0.5 + torch.rand(131, dtype=torch.float64, generator=generator)
    b0 = 200 * torch.randn(131, dtype=torch.float64, generator=generator)
    z = 0.01 * torch.randn(131, dtype=torch.float64, generator=generator)
    fast, plain = (simulate(sequence, b1, b0, 0.8, 0.07, z, compiled=c) for c in (True, False))
    close(fast, plain, 1e-13)


def problem(
    generator: torch.Generator, count: int, compiled: bool
) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """(function of steps, tissue and start), and their values."""
    steps = any_sequence(generator, 8).steps()
    draw = torch.rand(4, count, dtype=torch.float64, generator=generator)
    tissue = torch.stack([0.7 + 0.6 * draw[0], 100 * draw[1] - 50, 0.3 + draw[2], 0.02 + 0.1 * draw[3]])
    position = 0.01 * torch.randn(3, count, dtype=torch.float64, generator=generator)
    start = torch.randn(3, count, dtype=torch.float64, generator=generator)

    def function(fields: Tensor, x: Tensor, m: Tensor) -> Tensor:
        return bloch.isochromats(fields, steps.readout, steps.spoiled, x, position, m, compiled=compiled)

    return function, (steps.fields, tissue, start)


@BOTH
def test_derivatives_against_finite_differences(generator: torch.Generator, compiled: bool) -> None:
    function, values = problem(generator, 3, compiled)
    leaves = [value.clone().requires_grad_() for value in values]
    out = function(*leaves)
    weight = torch.randn(out.shape, dtype=torch.float64, generator=generator)
    gradients = torch.autograd.grad((weight * out).sum(), leaves)
    for k, scale in enumerate((1e-5, None, 1e-5)):  # the tissue's rows have sizes of their own
        for trial in range(4):
            way = torch.randn(values[k].shape, dtype=torch.float64, generator=generator)
            if k == 0:
                way = way * tensor(1.0, 1.0, 100.0, 100.0, 100.0, 1e-4)
            step = scale or 1e-5
            if scale is None:
                way = torch.zeros_like(way)
                way[trial] = values[k][trial]
            shifts = [
                [v + s * step * way if i == k else v for i, v in enumerate(values)] for s in (-2, -1, 1, 2)
            ]
            a, b, c, d = (function(*shift) for shift in shifts)
            slope = (8 * (c - b) - (d - a)) / (12 * step)
            directions = tuple(way if i == k else torch.zeros_like(v) for i, v in enumerate(values))
            forward = torch.func.jvp(function, values, directions)[1]
            size = float(slope.abs().max())
            assert float((forward - slope).abs().max()) <= 1e-6 * size
            reverse, wanted = float((gradients[k] * way).sum()), float((weight * slope).sum())
            assert abs(reverse - wanted) <= 1e-6 * float((weight * slope).abs().sum())


def test_derivatives_of_both_forms_agree(generator: torch.Generator) -> None:
    fast, values = problem(generator.manual_seed(7), 70, True)
    plain, _ = problem(generator.manual_seed(7), 70, False)
    weight = torch.randn(fast(*values).shape, dtype=torch.float64, generator=generator)
    directions = tuple(torch.randn(v.shape, dtype=torch.float64, generator=generator) * 0.01 for v in values)
    results = []
    for function in (fast, plain):
        leaves = [value.clone().requires_grad_() for value in values]
        gradients = torch.autograd.grad((weight * function(*leaves)).sum(), leaves)
        results.append([*gradients, torch.func.jvp(function, values, directions)[1]])
    for a, b in zip(*results, strict=True):
        assert float((a - b).abs().max()) <= 1e-11 * float(b.abs().max())


def test_both_forms_of_the_tissue_derivatives(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = any_sequence(generator, 8).steps()
    tissue = rows(tensor(0.8, 1.1), tensor(-20.0, 30.0), 0.8, 0.06)
    position = 0.01 * torch.randn(3, 2, dtype=torch.float64, generator=generator)
    fast = bloch.changes(steps.fields, steps.readout, steps.spoiled, tissue, position)
    monkeypatch.setattr(bloch, "kernels", lambda: None)
    plain = bloch.changes(steps.fields, steps.readout, steps.spoiled, tissue, position)
    for a, b in zip(fast, plain, strict=True):
        assert float((a - b).abs().max()) <= 1e-12 * float(b.abs().max())


def test_derivatives_reach_the_columns_of_the_sequence(generator: torch.Generator) -> None:
    sequence = any_sequence(generator, 8)
    tissue, position = rows(1.1, 20.0, 0.8, 0.06).view(4, 1), tensor(0.002, -0.001, 0.003).view(3, 1)

    def signal(**columns: Tensor) -> Tensor:
        steps = sequence.differentiable(**columns).steps()
        return bloch.isochromats(steps.fields, steps.readout, steps.spoiled, tissue, position).sum()

    for name in ("flip_angle", "phase", "frequency", "gradient", "duration"):
        value = sequence.tensor(name)
        way = torch.randn(value.shape, dtype=torch.float64, generator=generator)
        way = way * {"gradient": 1e-3, "duration": 1e-3, "frequency": 100.0}.get(name, 1.0)
        leaf = value.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(signal(**{name: leaf}), leaf)
        h = 1e-5
        a, b, c, d = (float(signal(**{name: value + s * h * way})) for s in (-2, -1, 1, 2))
        slope = (8 * (c - b) - (d - a)) / (12 * h)
        assert float((gradient * way).sum()) == pytest.approx(slope, rel=1e-6), name


def test_a_wrong_kernel_would_be_seen(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence = any_sequence(generator)
    plain = simulate(sequence, 1.1, 20.0, 0.8, 0.07, 0.003, compiled=False)
    series = bloch._rotation

    def faulty(square: Tensor) -> tuple[Tensor, Tensor]:
        a, b = series(square)
        return a, b * (1 + 1e-7)

    monkeypatch.setattr(bloch, "_rotation", faulty)
    changed = simulate(sequence, 1.1, 20.0, 0.8, 0.07, 0.003, compiled=False)
    assert float((changed - plain).abs().max()) > 1e-10


def test_results_do_not_depend_on_the_number_of_threads(generator: torch.Generator) -> None:
    threads = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            function, values = problem(generator.manual_seed(3), 600, True)
            leaves = [value.clone().requires_grad_() for value in values]
            out = function(*leaves)
            results.append([out.detach(), *torch.autograd.grad(out.sum(), leaves)])
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(*results, strict=True):
        assert float((a - b).abs().max()) <= 1e-12 * float(b.abs().max())


def test_refuses_arguments_that_do_not_belong_together() -> None:
    steps = compose(Pulse(1.0), Readout()).steps()
    with pytest.raises(ShapeError, match="isochromat"):
        bloch.isochromats(steps.fields, steps.readout, steps.spoiled, torch.ones(4, 3), torch.zeros(3, 2))
