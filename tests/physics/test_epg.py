"""Extended phase graphs against the sum of isochromats and other programs' numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fastqmri.core import Fingerprinting
from fastqmri.physics.spins import FingerprintingSignal, epg, graphs, schedule
from physics.checks import assert_close
from physics.isochromats import fingerprints

TISSUES = ((1.2, 0.08, 1.0, 1.0), (0.45, 0.24, 0.83, 0.94), (3.1, 0.6, 1.12, 0.97), (0.3, 0.02, 1.0, 0.9))
"""T1, T2, B1, efficiency."""


def train(count: int = 80, **fields: object) -> Fingerprinting:
    """A train of wandering angles and times."""
    n = np.arange(count)
    defaults = {
        "flip_angle": tuple(np.deg2rad(25 + 20 * np.sin(0.13 * n) + 4 * np.cos(1.7 * n))),
        "repetition_time": tuple(0.011 + 0.002 * np.sin(0.4 * n)),
        "echo_time": tuple(0.003 + 0.001 * np.cos(0.9 * n)),
    }
    return Fingerprinting(**{**defaults, **fields})


HEARTBEATS = {
    "segment_length": (9, 11, 8, 12, 10),
    "preparation": ("inversion", "none", "t2prep", "t2prep", "inversion"),
    "preparation_time": (0.021, 0.0, 0.03, 0.08, 0.1),
    "rr_interval": (0.9, 0.7, 1.3, 0.55, 0.8),
}
TRAINS = {
    "gradient": train(inversion_time=0.02),
    "gradient without inversion": train(),
    "several axes": train(rf_phase=tuple(0.3 * (i % 7) for i in range(80)), inversion_time=0.02),
    "rf": train(spoiling="rf", inversion_time=0.05),
    "rf 50 degrees": train(spoiling="rf", phase_increment=math.radians(50)),
    "balanced": train(spoiling="balanced", rf_phase=tuple(math.pi * (i % 2) for i in range(80))),
    "balanced, several axes": train(spoiling="balanced", rf_phase=tuple(1.1 * (i % 4) for i in range(80))),
    "heartbeats": train(50, **HEARTBEATS),
    "heartbeats, rf": train(50, spoiling="rf", **HEARTBEATS),
}
each_train = pytest.mark.parametrize("name", TRAINS)


def parameters(model: FingerprintingSignal, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """(parameter, voxel) of `TISSUES`, phase zero."""
    rows = torch.tensor(TISSUES, dtype=dtype).T
    x = torch.zeros(len(model.parameters), len(TISSUES), dtype=dtype)
    x[0], x[1:4] = 1.0, rows[:3]
    if "inversion_efficiency" in [p.name for p in model.parameters]:
        x[4] = rows[3]
    return x


@each_train
def test_against_the_sum_of_isochromats(name: str) -> None:
    model = FingerprintingSignal(TRAINS[name], "complex", states=100)
    wanted = np.stack([fingerprints(TRAINS[name], *tissue) for tissue in TISSUES], 1)
    found = model(parameters(model)).numpy()
    assert np.abs(found - wanted).max() <= 1e-10


@pytest.mark.parametrize("name", ["drone-25", "drone-epi-25", "cardiac-15", "irfisp-500"])
def test_states_that_choose_themselves(name: str) -> None:
    acquisition = schedule(name)
    model = FingerprintingSignal(acquisition, "real")
    more = FingerprintingSignal(acquisition, "real", states=model.states + 10)
    x = torch.tensor(
        [
            [1.0, t1, 0.6, b1, 1.0][: len(model.parameters)]
            for t1 in (0.6, 1.0, 4.0)
            for b1 in (0.7, 0.8, 1.0, 1.3)
        ]
    )
    x = x.double().T
    assert float((model(x) - more(x)).abs().max()) <= 1e-4


def test_few_states_are_seen() -> None:
    """The comparison with isochromats bites."""
    model = FingerprintingSignal(TRAINS["gradient"], "complex", states=8)
    wanted = np.stack([fingerprints(TRAINS["gradient"], *tissue) for tissue in TISSUES], 1)
    assert np.abs(model(parameters(model)).numpy() - wanted).max() > 1e-4


def test_preparation_leaves_what_decay_leaves() -> None:
    fields = {"segment_length": (2,), "rr_interval": (1.0,)}
    angle, echo, duration = 0.6, 0.003, 0.07
    prepared = Fingerprinting(
        flip_angle=(angle, 0.2),
        repetition_time=0.01,
        echo_time=echo,
        preparation=("t2prep",),
        preparation_time=(duration,),
        **fields,
    )
    x = torch.tensor([[1.0, 0.9, t2, 1.0] for t2 in (0.02, 0.06, 0.3)], dtype=torch.float64).T
    found = FingerprintingSignal(prepared, "real", states=2)(x)[0]
    torch.testing.assert_close(
        found, math.sin(angle) * torch.exp(-(duration + echo) / x[2]), rtol=1e-14, atol=0
    )


def _live(acquisition: Fingerprinting) -> dict[str, torch.Tensor]:
    names = ["flip_angle", "repetition_time", "echo_time"]
    if acquisition.inversion_time is not None:
        names.append("inversion_time")
    if acquisition.segment_length:
        names += ["preparation_time", "rr_interval"]
    return {name: acquisition.tensor(name) for name in names}


@each_train
def test_both_forms_agree(name: str, generator: torch.Generator) -> None:
    """Signals, Jacobians, gradients and derivatives along a direction, by tissue and schedule, with few states."""
    acquisition, tissue = TRAINS[name], torch.tensor(TISSUES, dtype=torch.float64).T
    live = _live(acquisition)
    values = [*live.values(), *tissue]
    directions = [v * torch.randn(v.shape, dtype=v.dtype, generator=generator) for v in values]
    found: list[list[torch.Tensor]] = []
    weight: torch.Tensor | None = None
    for compiled in (False, True):

        def echoes(*values: torch.Tensor, compiled: bool = compiled) -> torch.Tensor:
            fields = dict(zip(live, values, strict=False))
            moved = epg.train_of(acquisition.differentiable(**fields))
            return graphs.echoes(moved, *values[len(fields) :], states=12, compiled=compiled)

        leaves = [value.clone().requires_grad_() for value in values]
        signal = echoes(*leaves)
        if weight is None:
            weight = torch.randn(signal.shape, dtype=signal.dtype, generator=generator)
        loss = (signal * weight.conj()).real.sum()
        gradient = torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)
        by = graphs.TISSUE
        _, slopes = graphs.echoes_with_slopes(epg.train_of(acquisition), *tissue, 12, by, compiled=compiled)
        along = torch.func.jvp(echoes, tuple(values), tuple(directions))[1]
        found.append([signal.detach(), along, *gradient, *slopes])
    for ours, oracle in zip(found[1], found[0], strict=True):
        assert_close(ours, oracle, 1e-12, name, over=tuple(range(oracle.ndim)))


@each_train
def test_tissue_derivatives_are_those_of_differences(name: str, generator: torch.Generator) -> None:
    model = FingerprintingSignal(TRAINS[name], "complex", states=20)
    x = parameters(model)
    step = 1e-4
    for row in range(len(x)):

        def moved(share: float, row: int = row) -> torch.Tensor:
            y = x.clone()
            y[row] += share * step * x[row].abs().clamp_min(0.1)
            return model(y)

        wanted = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * step)
        found = model.jacobian(x)[:, row] * x[row].abs().clamp_min(0.1)
        assert_close(
            found, wanted, 1e-6 if float(wanted.abs().max()) > 0 else 1e300, model.parameters[row].name
        )
    leaf = x.clone().requires_grad_()
    weight = torch.randn(wanted.shape, dtype=wanted.dtype, generator=generator)
    (model(leaf) * weight.conj()).real.sum().backward()
    assert_close(leaf.grad, (model.jacobian(x) * weight.conj()[:, None]).real.sum(0), 1e-10, "reverse mode")


def test_a_voxel_does_not_depend_on_its_company(generator: torch.Generator) -> None:
    model = FingerprintingSignal(TRAINS["heartbeats, rf"], "complex", states=20)
    x = parameters(model)[:, torch.randint(0, len(TISSUES), (67,), generator=generator)]
    for dtype in (torch.float64, torch.float32):
        together = model.evaluate(x.to(dtype))
        for voxel in (0, 31, 32, 66):
            alone = model.evaluate(x[:, voxel : voxel + 1].to(dtype))
            for a, b in zip(together, alone, strict=True):
                assert_close(a[..., voxel : voxel + 1], b, 1e-13 if dtype == torch.float64 else 1e-6, "voxel")


@pytest.mark.parametrize("name", ["irfisp-1000", "cardiac-15"])
def test_single_precision_of_long_trains(name: str) -> None:
    model = FingerprintingSignal(schedule(name), "real", states=20)
    x = parameters(model)
    exact, (single, slopes) = model.evaluate(x), model.evaluate(x.float())
    assert_close(single.double(), exact[0], 1e-5, "signal")
    assert_close(slopes.double(), exact[1], 1e-4, "Jacobian")
    leaf, wide = x.float().requires_grad_(), x.clone().requires_grad_()
    (model(leaf) ** 2).sum().backward()
    (model(wide) ** 2).sum().backward()
    assert_close(leaf.grad.double(), wide.grad, 1e-4, "gradient", over=(1,))


def test_memory_of_a_gradient_is_bounded() -> None:
    """The workspace of the way back grows with the square root of the train."""
    import resource

    model = FingerprintingSignal(schedule("irfisp-1000"), "real", states=20)
    x = parameters(model).repeat(1, 64).requires_grad_()
    model(x).sum().backward()  # compiled and warm
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model(x).sum().backward()
    # all states of all repetitions would be 1000 * 20 * 3 * 256 float64: 123 MB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


def test_spin_echo_in_a_constant_gradient() -> None:
    # Hahn: exp(-2/3 γ²G²τ³ D); the step is γGτ
    diffusivity = torch.tensor([0.7e-3, 2.1e-3], dtype=torch.float64)
    step, half = 110.0, 0.021
    right, turn = torch.tensor([math.pi / 2, math.pi], dtype=torch.float64)
    now = epg.rotate(epg.equilibrium(torch.ones_like(diffusivity)), right)
    now = epg.shift(epg.attenuate(now, half, diffusivity, step, shifting=True))
    now = epg.rotate(now, turn)
    now = epg.shift(epg.attenuate(now, half, diffusivity, step, shifting=True))
    wanted = -torch.exp(-2 / 3 * step**2 * half * diffusivity)
    torch.testing.assert_close(now.f[0], wanted, rtol=1e-12, atol=0)
    # the same by a train whose third pulse is none
    pair = Fingerprinting(flip_angle=(right, turn, 0.0), repetition_time=half, echo_time=0.0)
    long = torch.full_like(diffusivity, 1e9)
    one = torch.ones_like(long)
    train = epg.train_of(pair)
    found = epg.simulate(train, long, long, one, one, 3, diffusivity, step)[2]
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=0)


def test_stimulated_echo_of_pulsed_gradients() -> None:
    # Stejskal and Tanner: b = q² (Δ - δ/3), of gradients that fill the encoding intervals
    diffusivity = torch.tensor([0.3e-3, 1.4e-3], dtype=torch.float64)
    step, encoding, mixing = 90.0, 0.009, 0.11
    right = torch.tensor(math.pi / 2, dtype=torch.float64)
    now = epg.rotate(epg.equilibrium(torch.ones_like(diffusivity)), right)
    now = epg.shift(epg.attenuate(now, encoding, diffusivity, step, shifting=True))
    now = epg.crush(epg.rotate(now, right))
    now = epg.rotate(epg.attenuate(now, mixing, diffusivity, step, shifting=False), right)
    now = epg.shift(epg.attenuate(now, encoding, diffusivity, step, shifting=True))
    b = step**2 * (encoding + mixing - encoding / 3)
    torch.testing.assert_close(now.f[0].abs(), torch.exp(-b * diffusivity) / 2, rtol=1e-12, atol=0)


def test_steady_state_of_balanced_trains() -> None:
    # Freeman and Hill, on resonance with alternating phases
    t1, t2, repetition, angle = 0.6, 0.2, 0.005, math.radians(40)
    count = 2000
    train = Fingerprinting(
        flip_angle=(angle,) * count,
        repetition_time=repetition,
        echo_time=0.0,
        spoiling="balanced",
        rf_phase=tuple(math.pi * (i % 2) for i in range(count)),
    )
    x = torch.tensor([1.0, t1, t2, 1.0], dtype=torch.float64)
    e1, e2 = math.exp(-repetition / t1), math.exp(-repetition / t2)
    wanted = math.sin(angle) * (1 - e1) / (1 - (e1 - e2) * math.cos(angle) - e1 * e2)
    assert float(FingerprintingSignal(train, "real")(x)[-1]) == pytest.approx(wanted, rel=1e-6)
