"""Bloch-McConnell simulation against closed forms, an ODE solver, matrix exponentials, and another program."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from fastqmri.core import AcquisitionError, SaturationTransfer
from fastqmri.core.units import GYROMAGNETIC_RATIO_UT
from fastqmri.physics.signal.lineshapes import absorption
from fastqmri.physics.signal.saturation import transfer_saturation
from fastqmri.physics.spins import SCHEDULES, ChemicalExchange, TwoPoolTransfer, bloch_mcconnell, schedule
from fastqmri.physics.spins.bloch_mcconnell import Pools, saturation_signal
from fastqmri.physics.spins.exchange import Pool, Tissue

DATA = Path(__file__).parent / "data"
BOTH = pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "reference"])


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def several(full: int, semisolid: bool) -> Pools:
    """Two voxels of water, solutes and, if wanted, a semi-solid pool."""
    solutes = [
        (1e-3, 50.0, 3.5, 1.0, 10.0),
        (9e-4, 1000.0, 2.0, 1.0, 10.0),
        (4.5e-3, 20.0, -3.0, 0.77, 200.0),
    ]
    solutes = solutes[: full - 1]
    if semisolid:
        solutes.append((0.13, 30.0, -2.5, 1.0, 0.0))
    one = column(1.0, 1.3)
    return Pools(
        [column(1.0, 0.6), *(one * s[3] for s in solutes)],
        [column(25.0, 12.0), *(one * s[4] for s in solutes if s[4])],
        [one * s[0] for s in solutes],
        [one * s[1] for s in solutes],
        [column(s[2], s[2] + 0.1) for s in solutes],
        column(1e-5, 2e-5) if semisolid else None,
    )


def by_ode(acquisition: SaturationTransfer, pools: Pools, b0: float, b1: float, voxel: int) -> np.ndarray:
    """z of water after each contrast's saturation from equilibrium: complex transverse magnetisations, DOP853."""
    full = len(pools.r2)
    r1, r2 = (np.array([float(r[voxel]) for r in part]) for part in (pools.r1, pools.r2))
    f = np.array([1.0, *(float(v[voxel]) for v in pools.fraction)])
    k = np.array([0.0, *(float(v[voxel]) for v in pools.rate)])
    shift = np.array([0.0, *(float(v[voxel]) for v in pools.shift)])
    ppm = GYROMAGNETIC_RATIO_UT * acquisition.field_strength
    out = []
    for i, offset in enumerate(acquisition.offset):
        hertz = torch.tensor(ppm / (2 * math.pi) * (offset - b0 - shift[-1]), dtype=torch.float64)
        line = (
            0.0
            if pools.semisolid_t2 is None
            else float(absorption(pools.lineshape, hertz, pools.semisolid_t2[voxel]))
        )

        def change(
            t: float, y: np.ndarray, w: float, irradiated: bool, offset: float, line: float
        ) -> np.ndarray:
            m, z = y[:full], y[full:].real
            turning = ppm * (b0 + shift[:full] - (offset if irradiated else 0.0))
            dm = (1j * turning - r2 - k[:full]) * m + 1j * w * z[:full]
            dm[0] += (k[1:full] * m[1:]).sum() - (f[1:full] * k[1:full]).sum() * m[0]
            dm[1:] += f[1:full] * k[1:full] * m[0]
            dz = r1 * (f - z) - k * z + f * k * z[0]
            dz[0] += (k[1:] * z[1:]).sum() - (f[1:] * k[1:]).sum() * z[0]
            dz[:full] -= w * m.imag
            dz[full:] -= math.pi * w * w * line * z[full:]
            return np.concatenate([dm, dz.astype(complex)])

        def run(
            y: np.ndarray, time: float, w: float, irradiated: bool, offset: float, line: float
        ) -> np.ndarray:
            solution = solve_ivp(
                change, (0, time), y, "DOP853", args=(w, irradiated, offset, line), rtol=1e-9, atol=1e-11
            )
            return solution.y[:, -1]

        y = np.concatenate([np.zeros(full), f]).astype(complex)
        steps = acquisition.pulse_shape
        for pulse in range(acquisition.pulses):
            for step in steps:
                w = GYROMAGNETIC_RATIO_UT * b1 * acquisition.saturation_b1[i] * step
                y = run(y, acquisition.pulse_duration[i] / len(steps), w, True, offset, line)
            if pulse + 1 < acquisition.pulses:
                y = run(y, acquisition.pulse_delay, 0.0, False, offset, line)
        y[:full] = 0
        y = run(y, acquisition.spoil_time, 0.0, False, offset, line)
        out.append(y[full].real)
    return np.array(out)


SHAPED = SaturationTransfer(
    offset=(3.4, -2.6, 0.3),
    saturation_b1=(1.5, 2.0, 1.0),
    pulse_duration=0.02,
    recovery_time=0.0,
    field_strength=3.0,
    pulses=2,
    pulse_delay=0.005,
    pulse_shape=(0.1, 0.6, 1.0, 0.7, 0.2),
    spoil_time=0.0065,
)


@pytest.mark.parametrize(("full", "semisolid"), [(2, False), (1, True), (3, False), (3, True), (4, True)])
def test_against_an_ode_solver(full: int, semisolid: bool) -> None:
    pools = several(full, semisolid)
    signal = saturation_signal(SHAPED, pools, column(0.05, -0.1), column(1.1, 0.9))
    wanted = by_ode(SHAPED, pools, -0.1, 0.9, 1)
    worst = float(np.abs(signal[:, 1].numpy() - wanted).max())
    print(f"{full} full pools{', a semi-solid one' if semisolid else ''}: {worst:.2g} from the ODE solver")
    assert worst <= 1e-6


@BOTH
def test_steady_state_without_exchange(compiled: bool) -> None:
    """z = (1 + (T2 δ)²) / (1 + (T2 δ)² + ω1² T1 T2)."""
    t1, t2, offsets, b1 = 0.8, 0.06, (-2.0, -0.3, 0.0, 0.1, 1.0), (1.0, 0.5, 0.3, 2.0, 3.0)
    acquisition = SaturationTransfer(
        offset=offsets, saturation_b1=b1, pulse_duration=30.0, recovery_time=0.0, field_strength=1.5
    )
    pools = Pools([column(1 / t1)], [column(1 / t2)], [], [], [])
    signal = saturation_signal(acquisition, pools, column(0.0), column(1.0), compiled=compiled)[:, 0]
    turned = (t2 * GYROMAGNETIC_RATIO_UT * 1.5 * column(*offsets)) ** 2
    driven = (GYROMAGNETIC_RATIO_UT * column(*b1)) ** 2 * t1 * t2
    worst = float((signal - (1 + turned) / (1 + turned + driven)).abs().max())
    assert worst <= 1e-8


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"initial": "zero", "pulses": 3, "pulse_delay": 0.01, "spoiled_pulses": True},
        {"initial": "previous", "flip_angle": 1.0, "echo_time": 0.02, "readouts": 3},
        {
            "initial": "previous",
            "flip_angle": 0.5,
            "echo_time": 0.02,
            "readouts": 2,
            "spoiled_readouts": False,
            "spin_lock": True,
            "spoiled_saturation": False,
            "readout_phase": 0.7,
            "pulses": 2,
            "pulse_delay": 0.01,
        },
    ],
    ids=["equilibrium", "spoiled-train", "carried", "locked"],
)
@pytest.mark.parametrize(("full", "semisolid"), [(1, True), (3, True)])
def test_compiled_form_is_the_reference(
    more: dict[str, Any], full: int, semisolid: bool, generator: torch.Generator
) -> None:
    """Values and both kinds of derivatives, by all tissue and schedule rows, the pulse's steps, and the start."""
    acquisition = SaturationTransfer(
        offset=(3.0, -2.0, 0.1),
        saturation_b1=(1.0, 2.0, 0.5),
        pulse_duration=0.05,
        recovery_time=(0.3, 0.5, 0.2),
        field_strength=3.0,
        pulse_shape=(0.2, 1.0, 0.3),
        **more,
    )
    pools = several(full, semisolid)
    *tensors, order = bloch_mcconnell._rows(acquisition, pools, column(0.05, -0.1), column(1.1, 0.9))
    if acquisition.initial != "previous":
        tensors[0] = tensors[0].reshape(len(tensors[0]), 1, -1)
        tensors[1] = tensors[1].reshape(len(tensors[1]), 1, -1)

    def fast(*arguments: Tensor) -> Tensor:
        return bloch_mcconnell._Simulate.apply(*arguments, order)

    def slow(*arguments: Tensor) -> Tensor:
        return bloch_mcconnell.reference(*arguments, order)

    value = slow(*tensors)
    assert float((fast(*tensors) - value).abs().max()) <= 1e-11
    directions = tuple(t.abs() * torch.randn(t.shape, dtype=t.dtype, generator=generator) for t in tensors)
    found, wanted = (torch.func.jvp(f, tuple(tensors), directions)[1] for f in (fast, slow))
    assert float((found - wanted).abs().max() / wanted.abs().max()) <= 1e-10
    weight = torch.randn(value.shape, dtype=value.dtype, generator=generator)
    leaves = [t.clone().requires_grad_() for t in tensors]
    found, wanted = (torch.autograd.grad((f(*leaves) * weight).sum(), leaves) for f in (fast, slow))
    for a, b, leaf in zip(found, wanted, tensors, strict=True):
        scale = (b * leaf).abs().max().clamp_min(1e-6)
        assert float(((a - b) * leaf).abs().max() / scale) <= 1e-10


def test_a_wrong_coefficient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison bites: exchange that loses a thousandth of its detailed balance is far outside its limits."""
    pools = several(3, True)
    signal = saturation_signal(SHAPED, pools, column(0.0, 0.0), column(1.0, 1.0))
    bad = replace(pools, fraction=[1.001 * f for f in pools.fraction])
    assert (
        float((signal - saturation_signal(SHAPED, bad, column(0.0, 0.0), column(1.0, 1.0))).abs().max())
        > 1e-6
    )


def _recorded() -> dict[str, Any]:
    return json.loads((DATA / "bmctool.json").read_text())


@pytest.mark.parametrize(
    "name", ["cw-1-solute", "cw-3-solutes-semisolid", "train-1-solute", "train-3-solutes-semisolid"]
)
def test_another_program(name: str) -> None:
    """bmctool, its spectra recorded with their protocol in the data file."""
    recorded = _recorded()
    tissue = recorded["tissue"]
    protocol, *_ = name.split("-")
    offsets = (-300.0, *np.linspace(-4, 4, 33).tolist())
    more: dict[str, Any] = {"saturation_b1": 2.0, "pulse_duration": 2.0}
    if protocol == "train":
        u = (np.arange(100) + 0.5) / 100 - 0.5
        shape = (0.85 + 0.15 * np.cos(2 * np.pi * u)) * np.sinc(2 * u)
        more = {
            "saturation_b1": 1.78,
            "pulse_duration": 0.05,
            "pulses": 36,
            "pulse_delay": 0.005,
            "pulse_shape": tuple(shape / shape.mean()),
        }
    acquisition = SaturationTransfer(
        offset=offsets, recovery_time=0.0, field_strength=3.0, spoil_time=0.0065, **more
    )
    solutes = tissue["solutes"][: 1 if "1-solute" in name else 3]
    semi = [tissue["semisolid"]] if "semisolid" in name else []
    pools = Pools(
        [column(1 / tissue["water"]["t1"]), *(column(1 / p["t1"]) for p in solutes + semi)],
        [column(1 / tissue["water"]["t2"]), *(column(1 / p["t2"]) for p in solutes)],
        *([column(p[key]) for p in solutes + semi] for key in ("f", "k", "dw")),
        semisolid_t2=column(semi[0]["t2"]) if semi else None,
        lineshape="lorentzian",
    )
    signal = saturation_signal(acquisition, pools, column(0.0), column(1.0))[:, 0].numpy()
    worst = float(np.abs(signal - np.array(recorded["z"][name])).max())
    print(f"{name}: {worst:.2g} from bmctool")
    assert worst <= 1e-3


def test_spin_lock_form_against_exact() -> None:
    """R1rho with the solute's Lorentzian: a creatine-like solute, continuous saturation of 3 s at 3 T."""
    tissue = Tissue(1.5, 0.08, (Pool("amine", 2.0, 1e-3, 150.0, 1.0, 0.1),))
    for b1 in (1.0, 3.0, 6.0):
        acquisition = SaturationTransfer(
            offset=(-2.0, 1.6, 2.0, 2.4, 4.0),
            saturation_b1=b1,
            pulse_duration=3.0,
            recovery_time=0.0,
            field_strength=9.4,
        )
        exact, closed = (ChemicalExchange(acquisition, tissue, form=form) for form in ("exact", "spin-lock"))
        x = column(1.0, 1e-3, 150.0, 1.5, 0.08, 0.0, 1.0)[:, None]
        worst = float((exact(x) - closed(x)).abs().max())
        print(f"{b1} uT: spin-lock form {worst:.2g} from exact")
        assert worst <= 2e-3


def _mtc_voxels(generator: torch.Generator, count: int = 300) -> dict[str, Tensor]:
    u = torch.rand(5, count, dtype=torch.float64, generator=generator)
    t1 = 0.2 + 2.8 * u[3]
    return {
        "k": 5 + 95 * u[0],
        "f": 0.02 + 0.15 * u[1],
        "T2m": 1e-6 + 99e-6 * u[2],
        "T1": t1,
        "T2": t1 / (10 * 4 ** u[4]),
    }


def test_closed_transfer_against_exact(generator: torch.Generator) -> None:
    """300 voxels of the published ranges on the 40 scans: from the same start, and with exchange in the recovery."""
    acquisition = schedule("mtc-mrf-40")
    x = _mtc_voxels(generator)
    one = torch.ones_like(x["k"])
    told = {name: acquisition.tensor(name)[:, None] for name in ("offset", "saturation_b1", "pulse_duration")}
    recovered = -torch.expm1(-acquisition.tensor("recovery_time")[:, None] / x["T1"])
    offset = told["offset"] * GYROMAGNETIC_RATIO_UT * 3.0
    tissue = torch.stack([one, x["k"], x["f"], x["T2m"], x["T1"], x["T2"], 0 * one, one])
    closed = TwoPoolTransfer(acquisition)(tissue)
    direct = transfer_saturation(
        offset,
        GYROMAGNETIC_RATIO_UT * told["saturation_b1"],
        told["pulse_duration"],
        recovered,
        r1=1 / x["T1"],
        r2=1 / x["T2"],
        fraction=x["f"],
        rate=x["k"],
        r1_semisolid=1.0,
        line=x["T2m"] / math.pi / (1 + (offset * x["T2m"]) ** 2),
    )
    assert float((closed - direct).abs().max()) <= 1e-12
    # the same start: water as in the closed form, the semi-solid pool at the same share of its equilibrium
    pools = Pools([1 / x["T1"], one], [1 / x["T2"]], [x["f"]], [x["k"]], [0 * one], x["T2m"], "lorentzian")
    still = acquisition.model_copy(update={"recovery_time": (0.0,) * 40, "initial": "equilibrium"})
    inputs, start, shape, order = bloch_mcconnell._rows(still, pools, 0 * one, one)
    start = start * recovered
    same = bloch_mcconnell._Simulate.apply(
        inputs.reshape(len(inputs), 1, -1), start.reshape(2, 1, -1), shape, order
    )[0].reshape(closed.shape)
    exact = TwoPoolTransfer(acquisition, "exact")(tissue)
    for name, other in (("same start", same), ("exchange in the recovery", exact)):
        error = (closed - other).abs()
        print(f"closed form against exact, {name}: mean {error.mean():.4f}, largest {error.max():.3f}")
    assert float((closed - same).abs().mean()) <= 2e-3
    assert float((closed - exact).abs().mean()) <= 0.015


def test_water_shift_moves_the_spectrum() -> None:
    """A voxel whose water is shifted by b ppm answers at offset + b as an unshifted one does at the offset."""
    tissue = Tissue(1.2, 0.08, (Pool("amine", 3.0, 1e-3, 1000.0, 1.0, 0.1),))
    near, moved = (
        SaturationTransfer(
            offset=(-3.0 + b, 3.0 + b),
            saturation_b1=2.0,
            pulse_duration=1.0,
            recovery_time=0.0,
            field_strength=7.0,
        )
        for b in (0.0, 0.25)
    )
    x = column(1.0, 1e-3, 1000.0, 1.2, 0.08, 0.0, 1.0)[:, None]
    shifted = x.clone()
    shifted[5] = 0.25
    here, there = ChemicalExchange(near, tissue)(x), ChemicalExchange(moved, tissue)(shifted)
    assert float((here - there).abs().max()) <= 1e-9
    assert float(here[1, 0]) < float(here[0, 0])  # the solute is at +3 ppm


def test_models_refuse_what_they_cannot_do() -> None:
    carried, pulsed = schedule("cest-mrf-arginine"), SHAPED
    with pytest.raises(AcquisitionError):
        TwoPoolTransfer(pulsed)
    with pytest.raises(AcquisitionError):
        ChemicalExchange(carried, "l-arginine", form="spin-lock")
    with pytest.raises(AcquisitionError):
        ChemicalExchange(carried, "nowhere")
    with pytest.raises(AcquisitionError):
        ChemicalExchange(carried, "l-arginine", ("f_amide",))
    twice = Tissue(1.0, 0.1, (Pool("a", 1.0, 1e-3, 10.0, 1.0, 0.1), Pool("a", 2.0, 1e-3, 10.0, 1.0, 0.1)))
    with pytest.raises(AcquisitionError):
        ChemicalExchange(carried, twice)


@pytest.mark.parametrize(
    ("name", "count", "first", "last", "totals"),
    [
        (
            "mtc-mrf-40",
            40,
            (8.0, 1.0, 0.4, 3.5),
            (50.0, 1.8, 2.0, 3.6),
            {"saturation_b1": 55.0, "pulse_duration": 48.5, "recovery_time": 159.5},
        ),
        ("mtc-mrf-10", 10, (9.1, 1.1, 1.5, 4.5), (50.0, 0.9, 0.4, 3.5), {"pulse_duration": 14.5}),
        ("cest-mrf-arginine", 30, (3.0, 5.0, 3.0, 0.98), (3.0, 5.25, 3.0, 0.98), {"saturation_b1": 117.25}),
        (
            "cest-mrf-arginine-3t",
            30,
            (3.11385, 2.0, 0.1, 1.0),
            (3.11385, 0.5, 0.1, 1.0),
            {"saturation_b1": 56.1},
        ),
        ("cest-mrf-mt", 30, (8.0, 2.0, 2.5, 0.98), (8.0, 0.5, 2.5, 0.98), {"offset": 288.0}),
        ("cest-mrf-amide", 30, (3.5, 2.0, 2.5, 0.98), (3.5, 0.5, 2.5, 0.98), {"offset": 105.0}),
        ("autocest-mt-10", 10, (53.1, 0.41, 2.5, 1.0), (71.0, 0.06, 2.5, 1.0), {"saturation_b1": 11.24}),
        ("deepcest-3t", 55, (-100.0, 0.9, 0.02048, 0.0), (100.0, 0.9, 0.02048, 0.0), {"offset": 0.0}),
        ("glucest-7t", 30, (-100.0, 3.0, 0.0998, 14.2), (100.0, 3.0, 0.0998, 14.2), {"offset": 0.0}),
    ],
)
def test_anchors_of_the_schedules(
    name: str, count: int, first: tuple[float, ...], last: tuple[float, ...], totals: dict[str, float]
) -> None:
    assert name in SCHEDULES
    acquisition = schedule(name)
    assert isinstance(acquisition, SaturationTransfer)
    columns = [
        getattr(acquisition, f) for f in ("offset", "saturation_b1", "pulse_duration", "recovery_time")
    ]
    assert acquisition.contrasts == count
    assert tuple(c[0] for c in columns) == pytest.approx(first, rel=1e-5)
    assert tuple(c[-1] for c in columns) == pytest.approx(last, rel=1e-5)
    for field, total in totals.items():
        assert sum(getattr(acquisition, field)) == pytest.approx(total, abs=1e-9), field


def test_shapes_of_the_schedules() -> None:
    shape = torch.tensor(schedule("glucest-7t").pulse_shape)
    assert float((shape**2).mean()) == pytest.approx(1.0)
    assert float(torch.tensor(schedule("deepcest-3t").pulse_shape).mean()) == pytest.approx(1.0)
    near = [o for o in schedule("glucest-7t").offset if 1 < o < 10]
    assert (len(near), near[0], near[-1]) == (13, 1.8, 4.2)
