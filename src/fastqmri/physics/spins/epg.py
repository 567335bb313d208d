"""Extended phase graphs in plain PyTorch: the oracle of the compiled form, and the way to sequences of one's own.

A voxel's magnetisation is a sum of helices along the gradient: F_k for the transverse part that winds k times over,
G_k for the conjugate of what winds -k times, Z_k for the longitudinal part. Every one is (state, *voxels). The axis
of a pulse of phase 0 is chosen so that it turns full magnetisation into real positive F_0; as long as all pulses
have phases 0 and π everything stays real.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fastqmri.core import Fingerprinting

NONE, INVERSION, T2_PREPARATION = 0, 1, 2
_CODES = {"none": NONE, "inversion": INVERSION, "t2prep": T2_PREPARATION}
_ONE_AXIS = 1e-12


@dataclass(frozen=True)
class States:
    """Configuration states of all voxels.

    Attributes:
        f: F_k, (state, *voxels).
        g: G_k, the conjugate of F_-k.
        z: Z_k.
    """

    f: Tensor
    g: Tensor
    z: Tensor


def equilibrium(like: Tensor) -> States:
    """Full longitudinal magnetisation of voxels such as ``like``, one state, of its dtype."""
    one = torch.ones_like(like)[None]
    return States(torch.zeros_like(one), torch.zeros_like(one), one)


def rotate(states: States, angle: Tensor, phase: Tensor | float = 0.0) -> States:
    """A pulse of an angle (rad; scalar or (*voxels)) about an axis of a phase (rad); complex unless that is 0."""
    turned = isinstance(phase, Tensor) or phase != 0
    if turned:
        factor = torch.exp(1j * torch.as_tensor(phase, dtype=states.f.real.dtype))
        states = States(states.f * factor.conj(), states.g * factor, states.z)
    both = states.f + states.g
    sine, cosine = torch.sin(angle), torch.cos(angle)
    change = sine * states.z - (1 - cosine) / 2 * both
    f, g, z = states.f + change, states.g + change, cosine * states.z - sine / 2 * both
    return States(f * factor, g * factor.conj(), z) if turned else States(f, g, z)


def relax(states: States, time: Tensor | float, t1: Tensor, t2: Tensor) -> States:
    """Relaxation and recovery over a time in s."""
    transverse, longitudinal = torch.exp(-time / t2), torch.exp(-time / t1)
    recovered = -torch.expm1(-time / t1)
    z = states.z * longitudinal
    return States(states.f * transverse, states.g * transverse, torch.cat([z[:1] + recovered, z[1:]]))


def shift(states: States, most: int | None = None) -> States:
    """One step of the gradient: every helix winds once more. States beyond the first ``most`` are dropped."""
    empty = torch.zeros_like(states.z[:1])
    f, g, z = (
        torch.cat([empty, states.f]),
        torch.cat([states.g[1:], empty, empty]),
        torch.cat([states.z, empty]),
    )
    f = torch.cat([g[:1].conj(), f[1:]])
    return States(f[:most], g[:most], z[:most])


def attenuate(
    states: States, time: Tensor | float, diffusivity: Tensor, step: float, *, shifting: bool
) -> States:
    """Free diffusion over a time; call it before the `shift` that ends a gradient.

    A helix that winds from k to k' loses exp(-D time (k² + k k' + k'²)/3), a still one exp(-D time k²).

    Source: Weigel 2010.

    Args:
        states: before the shift.
        time: of the interval, s.
        diffusivity: D, (*voxels), mm²/s.
        step: what one `shift` winds, γ ∫G dt in rad/mm.
        shifting: whether the gradient of one shift is on for the whole interval.
    """
    order = torch.arange(len(states.z), dtype=diffusivity.dtype).view(-1, *(1,) * diffusivity.ndim)
    next_up = order + 1 if shifting else order
    next_down = -order + 1 if shifting else -order

    def factor(k: Tensor, later: Tensor) -> Tensor:
        return torch.exp(-diffusivity * time * step**2 * (k * k + k * later + later * later) / 3)

    return States(
        states.f * factor(order, next_up),
        states.g * factor(-order, next_down),
        states.z * factor(order, order),
    )


def crush(states: States) -> States:
    """An ideal spoiler: no transverse magnetisation is left."""
    return States(torch.zeros_like(states.f), torch.zeros_like(states.g), states.z)


def invert(states: States, efficiency: Tensor | float = 1.0) -> States:
    """An adiabatic inversion and its spoiler."""
    return crush(replace(states, z=-efficiency * states.z))


def prepare_t2(states: States, time: Tensor | float, t2: Tensor) -> States:
    """90° - 180° - 90° with an echo time, and its spoiler: exp(-time/T2) is left; recovery meanwhile is neglected."""
    return crush(replace(states, z=states.z * torch.exp(-time / t2)))


@dataclass(frozen=True)
class Train:
    """A schedule as the simulators read it: what happens before, at and after every excitation.

    Attributes:
        flip: (excitation,) angle in rad.
        phase: (excitation,) in rad; None where all excitations share one axis.
        sign: (excitation,) for those, -1 where the axis is turned by half a turn; `flip` has that sign already.
        echo: (excitation,) time from excitation to echo, s.
        interval: (excitation,) time from excitation to the next preparation or excitation, s.
        preparation: what precedes each excitation: `NONE`, `INVERSION` or `T2_PREPARATION`.
        duration: (excitation,) echo time of the T2 preparation, s.
        wait: (excitation,) time from the preparation to the excitation, s.
        shifts: whether gradients dephase once per repetition.
        moving: whether the phases carry gradients.
        crossed: the train begins with full magnetisation along the pulses' axis, which the echoes are then along too
            (that of Carr, Purcell, Meiboom and Gill), and real in that sense.
    """

    flip: Tensor
    phase: Tensor | None
    sign: Tensor | None
    echo: Tensor
    interval: Tensor
    preparation: tuple[int, ...]
    duration: Tensor
    wait: Tensor
    shifts: bool
    moving: bool = False
    crossed: bool = False

    @property
    def inverts(self) -> bool:
        """Whether the efficiency of inversions matters."""
        return INVERSION in self.preparation


def train_of(acquisition: Fingerprinting, like: Tensor | None = None) -> Train:
    """The train of a fingerprinting schedule; gradients that the schedule carries pass through."""

    def read(name: str) -> Tensor:
        return acquisition.tensor(name, like)

    flip, echo, interval = read("flip_angle"), read("echo_time"), read("repetition_time")
    count = acquisition.contrasts
    preparation = [NONE] * count
    duration, wait = torch.zeros_like(flip), torch.zeros_like(flip)
    if acquisition.inversion_time is not None:
        preparation[0] = INVERSION
        wait = torch.cat([read("inversion_time").reshape(1), wait[1:]])
    if acquisition.segment_length:
        lengths = list(acquisition.segment_length)
        ends = torch.tensor(lengths).cumsum(0) - 1
        starts = ends - torch.tensor(lengths) + 1
        times = read("preparation_time")
        codes = [_CODES[kind] for kind in acquisition.preparation]
        for start, code in zip(starts.tolist(), codes, strict=True):
            preparation[start] = code
        is_inversion = torch.tensor([code == INVERSION for code in codes])
        waits, durations = (
            torch.where(is_inversion, times, 0 * times),
            torch.where(is_inversion, 0 * times, times),
        )
        wait, duration = wait.index_put((starts,), waits), duration.index_put((starts,), durations)
        busy = torch.stack([part.sum() for part in interval.split(lengths)])
        rest = (read("rr_interval") - times - busy)[:-1]
        interval = interval.index_put((ends[:-1],), rest, accumulate=True)
    phase: Tensor | None = acquisition.phases()
    sign: Tensor | None = None
    assert phase is not None
    half_turns = (phase - phase[0]) / math.pi
    moving = acquisition.carries("rf_phase") or acquisition.carries("phase_increment")
    if not moving and bool(((half_turns - half_turns.round()).abs() < _ONE_AXIS).all()):
        sign = (1 - 2 * torch.remainder(half_turns.round(), 2)).to(device=flip.device, dtype=flip.dtype)
        flip, phase = flip * sign, None
    else:
        phase = phase.to(device=flip.device, dtype=flip.dtype)
    shifts = acquisition.spoiling != "balanced"
    return Train(flip, phase, sign, echo, interval, tuple(preparation), duration, wait, shifts, moving)


def simulate(
    train: Train,
    t1: Tensor,
    t2: Tensor,
    b1: Tensor,
    efficiency: Tensor,
    states: int,
    diffusivity: Tensor | None = None,
    step: float = 0.0,
) -> Tensor:
    """Echoes of unit magnetisation, (excitation, *voxels), demodulated by the phase of their excitation.

    In every repetition: preparation and wait, pulse, echo, relaxation, one gradient step.

    Args:
        train: the schedule.
        t1, t2: s, (*voxels).
        b1: fraction of the flip angles, (*voxels).
        efficiency: of inversions, (*voxels).
        states: states kept. Those that can't come back before the train ends are left out without loss.
        diffusivity: mm²/s, (*voxels); None without diffusion.
        step: with it, rad/mm of one repetition, the gradient being on from echo to the end of the repetition.
    """
    count = len(train.flip)
    real = train.phase is None and not train.crossed
    now = equilibrium(t1 if real else torch.complex(t1, torch.zeros_like(t1)))
    if train.crossed:
        now = States(1j * now.z, -1j * now.z, 0 * now.z)
    echoes = []
    for i in range(count):
        if train.preparation[i] != NONE:
            if train.preparation[i] == INVERSION:
                now = invert(now, efficiency)
            else:
                now = prepare_t2(now, train.duration[i], t2)
            now = relax(now, train.wait[i], t1, t2)
        if train.phase is not None and i:
            turn = torch.exp(1j * (train.phase[i - 1] - train.phase[i]))
            now = States(now.f * turn, now.g * turn.conj(), now.z)
        now = rotate(now, b1 * train.flip[i])
        echoes.append(now.f[0] * torch.exp(-train.echo[i] / t2))
        if i == count - 1:
            break
        now = relax(now, train.interval[i], t1, t2)
        if diffusivity is not None:
            before = train.echo[i]
            now = attenuate(now, before, diffusivity, step, shifting=False)
            now = attenuate(now, train.interval[i] - before, diffusivity, step, shifting=train.shifts)
        if train.shifts:
            now = shift(now, min(states, count - 1 - i))
    signal = torch.stack(echoes).imag if train.crossed else torch.stack(echoes)
    return signal if train.sign is None else signal * train.sign.view(-1, *(1,) * t1.ndim)
