"""Bloch-McConnell simulation of saturation experiments with any number of exchanging pools.

The frame rotates with the water's nominal frequency during delays and with the irradiation during pulses; its phase
runs on over pulses only. Irradiation is about x: y' = ω1 z - …, z' = -ω1 y - …, x' = -δ y - …, y' = δ x + …, δ the
pool's frequency minus the irradiation's. Exchange with a pool without transverse magnetisation (the semi-solid one)
leaves the water's T2 as it is observed, and the pool is saturated at the rate π ω1² g.

Two forms of one simulation: `reference` in PyTorch, by matrix exponentials, and the compiled kernels, which
`simulate` prefers on processors.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastqmri.core import SaturationTransfer
from fastqmri.core.units import GYROMAGNETIC_RATIO_UT
from fastqmri.physics.signal.lineshapes import absorption
from fastqmri.solvers import dispatch

if TYPE_CHECKING:
    from types import ModuleType

_LOG = logging.getLogger(__name__)
(
    _OFFSET,
    _RF,
    _LINE,
    _PULSE,
    _RECOVERY,
    _DELAY,
    _SPOIL,
    _ECHO,
    _COS,
    _SIN,
    _COS_LOCK,
    _SIN_LOCK,
    _COS_PHASE,
    _SIN_PHASE,
) = range(14)
_LEAST = 256


@dataclass(frozen=True)
class Pools:
    """Tissue of the simulation; every entry broadcasts against the voxels.

    Attributes:
        r1: longitudinal relaxation rates in 1/s: water first, then the solutes, then pools without transverse
            magnetisation.
        r2: transverse relaxation rates in 1/s of water and solutes.
        fraction: equilibrium magnetisation relative to water's, of all pools but water.
        rate: exchange rates to water in 1/s, likewise; those from water follow from detailed balance.
        shift: chemical shifts in ppm, likewise.
        semisolid_t2: T2 in s of each pool without transverse magnetisation; at most one is supported.
        lineshape: of that pool, see `fastqmri.physics.signal.lineshapes`.
    """

    r1: Sequence[Tensor]
    r2: Sequence[Tensor]
    fraction: Sequence[Tensor]
    rate: Sequence[Tensor]
    shift: Sequence[Tensor]
    semisolid_t2: Tensor | None = None
    lineshape: str = "superlorentzian"


@dataclass(frozen=True)
class Order:
    """What does not change from contrast to contrast.

    Attributes:
        full: pools with transverse magnetisation.
        pulses: in each contrast.
        readouts: excitations in each contrast; 0 if the longitudinal magnetisation is the signal.
        locked: whether the magnetisation is tipped onto the effective field for each pulse.
        spoiled_pulses, spoiled_readouts, spoiled: whether the transverse magnetisation is destroyed after each, and
            after the saturation.
    """

    full: int
    pulses: int
    readouts: int
    locked: bool
    spoiled_pulses: bool
    spoiled_readouts: bool
    spoiled: bool

    @property
    def settings(self) -> tuple[int, int, int, tuple[bool, bool, bool, bool]]:
        """As the kernels take them."""
        return self.full, self.pulses, self.readouts, self.flags

    @property
    def flags(self) -> tuple[bool, bool, bool, bool]:
        """Locked, spoiled after pulses, readouts, saturation; without readout always after the last two."""
        unread = self.readouts == 0
        return self.locked, self.spoiled_pulses, self.spoiled_readouts or unread, self.spoiled or unread


def saturation_signal(
    acquisition: SaturationTransfer, pools: Pools, b0: Tensor, b1: Tensor, *, compiled: bool | None = None
) -> Tensor:
    """Signal (contrast, voxel) for an equilibrium magnetisation of water of one.

    Magnitude of the transverse magnetisation of water at the echo, or its longitudinal magnetisation.

    Args:
        acquisition: the schedule.
        pools: the tissue.
        b0: shift of all frequencies in ppm, (voxel); where no contrast depends on an earlier one, all tissue may also
            be (contrast, voxel).
        b1: transmit field as a fraction of nominal, likewise.
        compiled: whether to use the compiled kernels; None where they can be used.
    """
    inputs, start, shape, order = _rows(acquisition, pools, b0, b1)
    contrasts, voxels = inputs.shape[1:]
    if (
        acquisition.initial != "previous"
    ):  # contrasts don't know of each other: to the simulation they are voxels
        inputs = inputs.reshape(len(inputs), 1, contrasts * voxels)
        start = start.reshape(len(start), 1, contrasts * voxels)
    use = usable(inputs) if compiled is None else compiled
    run = _Simulate.apply if use else reference
    planes = run(inputs, start, shape, order).reshape(2, contrasts, voxels)
    if order.readouts == 0:
        return planes[0]
    return (planes[0] ** 2 + planes[1] ** 2 + 1e-40).sqrt()


def _rows(
    acquisition: SaturationTransfer, pools: Pools, b0: Tensor, b1: Tensor
) -> tuple[Tensor, Tensor, Tensor, Order]:
    """Inputs of the simulation: (row, contrast, voxel), (pool, 1 or contrast, voxel), (step,), all float64."""
    told = functools.partial(acquisition.tensor, like=None)
    device = b0.device

    def column(name: str) -> Tensor:
        """A field as (contrast, 1)."""
        return told(name).to(device=device, dtype=torch.float64).reshape(-1, 1)

    full, count = len(pools.r2), len(pools.r1)
    b0, b1 = b0.double(), b1.double()
    r1, r2, fraction, rate, shift = (
        [torch.as_tensor(v, dtype=torch.float64, device=device) for v in part]
        for part in (pools.r1, pools.r2, pools.fraction, pools.rate, pools.shift)
    )
    leaving = [f * k for f, k in zip(fraction, rate, strict=True)]
    ppm = GYROMAGNETIC_RATIO_UT * acquisition.field_strength
    zero = torch.zeros_like(b0)
    transverse = [r2[0] + sum(leaving[: full - 1], zero), *(r2[i] + rate[i - 1] for i in range(1, full))]
    longitudinal = [r1[0] + sum(leaving, zero), *(r1[i] + rate[i - 1] for i in range(1, count))]
    detuning = [ppm * b0, *(ppm * (b0 + shift[i - 1]) for i in range(1, full))]
    source = [r1[0], *(r1[i] * fraction[i - 1] for i in range(1, count))]
    offset = column("offset")
    amplitude = GYROMAGNETIC_RATIO_UT * column("saturation_b1")
    line = zero
    if pools.semisolid_t2 is not None:
        hertz = (offset - b0 - shift[-1]) * (ppm / (2 * math.pi))
        line = math.pi * absorption(pools.lineshape, hertz, pools.semisolid_t2.double())
    sign = torch.where(offset < 0, -1.0, 1.0).to(offset)
    lock = torch.atan2(amplitude * sign, (offset * ppm).abs()) if acquisition.spin_lock else zero
    flip = b1 * column("flip_angle") if acquisition.flip_angle is not None else zero
    schedule = [
        ppm * offset,
        b1 * amplitude,
        line,
        column("pulse_duration"),
        column("recovery_time"),
        column("pulse_delay"),
        column("spoil_time"),
        column("echo_time"),
        torch.cos(flip),
        torch.sin(flip),
        torch.cos(b1 * lock),
        torch.sin(b1 * lock),
        torch.cos(column("readout_phase")),
        torch.sin(column("readout_phase")),
    ]
    size = (acquisition.contrasts, b0.shape[-1])
    parts = [*transverse, *longitudinal, *detuning, *rate, *leaving, *source, *schedule]
    inputs = torch.stack([part.expand(size) for part in parts])
    beginnings = (1, size[1]) if acquisition.initial == "previous" else size
    start = torch.stack([part.expand(beginnings) for part in (torch.ones_like(b0), *fraction)])
    if acquisition.initial == "zero":
        start = torch.zeros_like(start)
    order = Order(
        full,
        acquisition.pulses,
        acquisition.readouts if acquisition.flip_angle is not None else 0,
        acquisition.spin_lock,
        acquisition.spoiled_pulses,
        acquisition.spoiled_readouts,
        acquisition.spoiled_saturation,
    )
    return inputs, start, told("pulse_shape").to(device=device, dtype=torch.float64), order


def reference(inputs: Tensor, start: Tensor, shape: Tensor, order: Order) -> Tensor:
    """The simulation by matrix exponentials: exact, differentiable by automatic differentiation, any device.

    Args:
        inputs: (row, contrast, voxel): the coefficients of the equation, then the schedule, see `_rows`.
        start: (pool, 1, voxel) longitudinal magnetisation before the first contrast.
        shape: (step,) relative amplitudes of a pulse.
        order: the rest.

    Returns:
        (2, contrast, voxel) x and y of water at the echo, or its z, and zero.
    """
    full, pools = order.full, len(start)
    n = 2 * full + pools
    z = 2 * full
    pattern = _patterns(full, pools).to(inputs)
    locked, spoiled_pulses, spoiled, crushed = order.flags
    state = torch.cat(
        [torch.zeros(z, *start.shape[2:]).to(start), start[:, 0], torch.ones_like(start[:1, 0])]
    )
    keep = torch.ones(n + 1, 1).to(state)
    keep[:z] = 0
    planes = []

    def propagator(coefficients: Tensor, duration: Tensor) -> Tensor:
        generator = torch.einsum("kv,kij->vij", coefficients * duration, pattern)
        return torch.linalg.matrix_exp(generator)

    def advance(matrix: Tensor, vector: Tensor) -> Tensor:
        return torch.einsum("vij,jv->iv", matrix, vector)

    def phased(vector: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        x, y = vector[:full], vector[full:z]
        return torch.cat([cosine * x + sine * y, cosine * y - sine * x, vector[z:]])

    def turn(vector: Tensor, first: int, cosine: Tensor, sine: Tensor) -> Tensor:
        side, along = vector[first : first + full], vector[z : z + full]
        turned = {first: cosine * side + sine * along, z: cosine * along - sine * side}
        x = turned.get(0, vector[:full])
        y = turned.get(full, vector[full:z])
        return torch.cat([x, y, turned[z], vector[z + full :]])

    free_count = len(pattern) - 2
    for contrast in inputs.unbind(1):
        coefficients, schedule = contrast[:free_count], contrast[free_count:]
        zeros = torch.zeros_like(schedule[:2])
        free = torch.cat([coefficients, zeros])
        detuning = slice(full + pools, 2 * full + pools)
        if spoiled:
            state = keep * state
        state = advance(propagator(free, schedule[_RECOVERY]), state)
        pulse = None
        for step in shape:
            rf = schedule[_RF] * step
            moved = coefficients.clone()
            moved[detuning] = coefficients[detuning] - schedule[_OFFSET]
            driven = torch.cat([moved, rf[None], (rf * rf * schedule[_LINE])[None]])
            part = propagator(driven, schedule[_PULSE] / len(shape))
            pulse = part if pulse is None else part @ pulse
        assert pulse is not None
        gap = propagator(free, schedule[_DELAY]) if order.pulses > 1 else None
        for index in range(order.pulses):
            if locked:
                state = turn(state, 0, schedule[_COS_LOCK], schedule[_SIN_LOCK])
            state = advance(pulse, state)
            if locked:
                state = turn(state, 0, schedule[_COS_LOCK], -schedule[_SIN_LOCK])
            if spoiled_pulses:
                state = keep * state
            if gap is not None and index + 1 < order.pulses:
                state = advance(gap, state)
        state = keep * state if crushed else phased(state, schedule[_COS_PHASE], schedule[_SIN_PHASE])
        state = advance(propagator(free, schedule[_SPOIL]), state)
        if order.readouts == 0:
            planes.append(torch.stack([state[z], torch.zeros_like(state[z])]))
        echo = propagator(free, schedule[_ECHO]) if order.readouts else None
        for index in range(order.readouts):
            assert echo is not None
            state = advance(echo, turn(state, full, schedule[_COS], schedule[_SIN]))
            if index == 0:
                planes.append(torch.stack([state[0], state[full]]))
            if spoiled:
                state = keep * state
    return torch.stack(planes, 1)


@functools.cache
def _patterns(full: int, pools: int) -> Tensor:
    """(coefficient, N + 1, N + 1): where each coefficient of the equation stands, and its sign."""
    n, z = 2 * full + pools, 2 * full
    places: list[list[tuple[int, int, float]]] = []
    places += [[(i, i, -1.0), (full + i, full + i, -1.0)] for i in range(full)]
    places += [[(z + i, z + i, -1.0)] for i in range(pools)]
    places += [[(i, full + i, -1.0), (full + i, i, 1.0)] for i in range(full)]
    blocks = [(0, full), (full, full), (z, pools)]
    places += [[(at, at + j, 1.0) for at, size in blocks if j < size] for j in range(1, pools)]
    places += [[(at + j, at, 1.0) for at, size in blocks if j < size] for j in range(1, pools)]
    places += [[(z + i, n, 1.0)] for i in range(pools)]
    places += [[entry for i in range(full) for entry in ((full + i, z + i, 1.0), (z + i, full + i, -1.0))]]
    places += [[(z + i, z + i, -1.0) for i in range(full, pools)]]
    pattern = torch.zeros(len(places), n + 1, n + 1, dtype=torch.float64)
    for k, entries in enumerate(places):
        for row, column, value in entries:
            pattern[k, row, column] += value
    return pattern


@functools.cache
def _kernels() -> ModuleType | None:
    """The compiled kernels, or None where numba is not installed or refuses to work."""
    if dispatch.kernels() is None:
        return None
    from fastqmri.physics.spins.compiled import exchange

    return exchange


def usable(inputs: Tensor) -> bool:
    """Whether the compiled kernels can simulate this: on the CPU, and numba works."""
    return inputs.device.type == "cpu" and _kernels() is not None


class _Simulate(torch.autograd.Function):
    """The compiled simulation, differentiable once in either mode."""

    @staticmethod
    def forward(inputs: Tensor, start: Tensor, shape: Tensor, order: Order) -> Tensor:
        kernels = _kernels()
        assert kernels is not None
        out = torch.empty(2, *inputs.shape[1:], dtype=torch.float64)
        arrays, result = _arrays(inputs, start, shape), out.numpy()
        _spread(lambda *span: kernels.signal(*arrays, *order.settings, *span, result), inputs)
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        *tensors, ctx.order = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> Any:
        return *_Gradients.apply(*ctx.saved_tensors, cotangents[0], ctx.order), None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        tensors = ctx.saved_tensors
        directions = [
            torch.zeros_like(t) if d is None else d for t, d in zip(tensors, tangents[:3], strict=True)
        ]
        return _Directional.apply(*tensors, *directions, ctx.order)


class _Directional(torch.autograd.Function):
    """Derivative along a direction: a function of its own, so that it meets plain tensors under any transform."""

    @staticmethod
    def forward(*arguments: Any) -> Tensor:
        *tensors, order = arguments
        kernels = _kernels()
        assert kernels is not None
        out = torch.empty(2, *tensors[0].shape[1:], dtype=torch.float64)
        arrays, result = _arrays(*tensors), out.numpy()
        _spread(lambda *span: kernels.tangent(*arrays, *order.settings, *span, result), tensors[0])
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        pass


class _Gradients(torch.autograd.Function):
    """Gradients by inputs, start and shape; a function of its own for the same reason."""

    @staticmethod
    def forward(
        inputs: Tensor, start: Tensor, shape: Tensor, cotangent: Tensor, order: Order
    ) -> tuple[Tensor, Tensor, Tensor]:
        kernels = _kernels()
        assert kernels is not None
        by_inputs, by_start = (torch.empty(t.shape, dtype=torch.float64) for t in (inputs, start))
        blocks = -(-inputs.shape[2] // kernels.LANES)
        by_shape = torch.zeros(blocks, len(shape), dtype=torch.float64)
        arrays = _arrays(inputs, start, shape, cotangent)
        settings = (*order.settings, _squarings(inputs, shape, order))
        results = tuple(t.numpy() for t in (by_inputs, by_start, by_shape))
        _spread(lambda *span: kernels.adjoint(*arrays, *settings, *span, *results), inputs)
        return by_inputs, by_start, by_shape.sum(0)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass


def _arrays(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(t.detach().contiguous().numpy() for t in tensors)


def _spread(run: Any, inputs: Tensor) -> None:
    dispatch.spread(run, inputs.shape[2], lanes=16, least=_LEAST)


def _squarings(inputs: Tensor, shape: Tensor, order: Order) -> int:
    """Squarings that no exponential exceeds."""
    pools = (len(inputs) - 14 - 2 * order.full + 2) // 4
    coefficients, schedule = inputs.detach()[:-14].abs(), inputs.detach()[-14:].abs()
    rate = coefficients[: 2 * order.full + 3 * pools - 2].amax(0) * 2 * pools
    rf = schedule[_RF] * shape.detach().abs().max()
    driven = rate + schedule[_OFFSET] + rf + rf**2 * schedule[_LINE]
    longest = schedule[[_DELAY, _RECOVERY, _SPOIL, _ECHO]].amax(0)
    norm = torch.maximum(driven * schedule[_PULSE] / len(shape), rate * longest)
    return max(1, min(60, 3 + math.ceil(math.log2(max(1e-9, float(norm.max()))))))
