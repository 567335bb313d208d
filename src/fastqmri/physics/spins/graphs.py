"""One door to the two forms of the phase graph of a train: compiled where it can be, PyTorch elsewhere."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.physics.spins import epg
from fastqmri.physics.spins.epg import Train
from fastqmri.solvers import dispatch

_LOG = logging.getLogger(__name__)
_WORTH_A_THREAD = 128
TISSUE = ("t1", "t2", "b1", "efficiency")


@functools.cache
def kernels() -> ModuleType | None:
    """The compiled form, or None where numba is not installed or refuses to work."""
    if dispatch.kernels() is None:
        return None
    from fastqmri.physics.spins.compiled import epg as compiled

    return compiled


def echoes(
    train: Train,
    t1: Tensor,
    t2: Tensor,
    b1: Tensor,
    efficiency: Tensor,
    states: int,
    *,
    compiled: bool = True,
) -> Tensor:
    """Echoes of unit magnetisation, (excitation, *voxels), as `epg.simulate` defines them.

    Differentiable by all tensors of tissue and schedule, forwards and backwards; once only where compiled.

    Args:
        train: the schedule, in float64.
        t1, t2: s, (*voxels).
        b1: fraction of the flip angles, (*voxels).
        efficiency: of inversions, (*voxels).
        states: states kept.
        compiled: allow the compiled form; it keeps about the square root of the train in memory for gradients.
    """
    if not compiled or train.moving or t1.device.type != "cpu" or kernels() is None:
        return epg.simulate(_cast(train, t1), t1, t2, b1, efficiency, states)
    shape = t1.shape
    tissue = [part.expand(shape).reshape(-1) for part in (t1, t2, b1, efficiency)]
    schedule = torch.stack([train.flip, train.echo, train.interval, train.duration, train.wait])
    found = _Graph.apply(schedule, *tissue, _Fixed.of(train, states))
    return _signed(train, found.view(*found.shape[:2], *shape))


def echoes_with_slopes(
    train: Train,
    t1: Tensor,
    t2: Tensor,
    b1: Tensor,
    efficiency: Tensor,
    states: int,
    by: tuple[str, ...],
    *,
    compiled: bool = True,
) -> tuple[Tensor, list[Tensor]]:
    """Echoes, and their derivatives by some of `TISSUE`, in one pass of the compiled form.

    Args:
        train, t1, t2, b1, efficiency, states, compiled: as in `echoes`.
        by: names of `TISSUE`.
    """
    tissue = [part.expand(t1.shape).contiguous() for part in (t1, t2, b1, efficiency)]
    if not compiled or train.moving or t1.device.type != "cpu" or kernels() is None:
        slow = _cast(train, t1)

        def along(rows: Tensor) -> Tensor:
            t1, t2, b1, efficiency = rows
            return epg.simulate(slow, t1, t2, b1, efficiency, states)

        rows, slopes = torch.stack(tissue), []
        for name in by:
            direction = torch.zeros_like(rows)
            direction[TISSUE.index(name)] = 1
            slopes.append(dispatch.jvp(along, rows, direction)[1])
        return along(rows), slopes
    schedule = torch.stack([train.flip, train.echo, train.interval, train.duration, train.wait])
    directions = torch.zeros(len(by), 4, t1.numel(), dtype=t1.dtype)
    for row, name in enumerate(by):
        directions[row, TISSUE.index(name)] = 1
    found = _run(
        schedule,
        [part.reshape(-1) for part in tissue],
        _Fixed.of(train, states),
        directions,
        torch.zeros(len(by), *schedule.shape, dtype=torch.float64),
        tuple({"t1": 1, "t2": 2}.get(name, 7) for name in by),
    )
    signal, *slopes = (_signed(train, part.view(*part.shape[:2], *t1.shape)) for part in found)
    return signal, slopes


def _cast(train: Train, like: Tensor) -> Train:
    cast = {
        name: getattr(train, name).to(like)
        for name in ("flip", "phase", "sign", "echo", "interval", "duration", "wait")
        if getattr(train, name) is not None
    }
    return replace(train, **cast)


def _signed(train: Train, found: Tensor) -> Tensor:
    """Parts to complex numbers, or real ones with the sign of their axis."""
    if len(found) == 2:
        return torch.complex(found[0], found[1])
    if train.sign is None or bool((train.sign > 0).all()):
        return found[0]
    return found[0] * train.sign.to(found).view(-1, *(1,) * (found.ndim - 2))


@dataclass(frozen=True)
class _Fixed:
    """What carries no gradients."""

    kinds: NDArray[np.int64]
    turns: NDArray[np.float64]
    states: int
    shifts: bool
    crossed: bool

    @staticmethod
    def of(train: Train, states: int) -> _Fixed:
        turns = np.zeros((0, 2))
        if train.phase is not None:
            phase = np.array(train.phase.tolist())  # under a transform it has no storage of its own
            back = np.concatenate([[0.0], phase[:-1] - phase[1:]])
            turns = np.stack([np.cos(back), np.sin(back)], 1)
        kinds = np.array(train.preparation, dtype=np.int64)
        return _Fixed(kinds, turns, states if train.shifts else 1, train.shifts, train.crossed)


def _run(
    schedule: Tensor,
    tissue: list[Tensor],
    fixed: _Fixed,
    by_tissue: Tensor,
    by_schedule: Tensor,
    moves: tuple[int, ...],
) -> Tensor:
    """(1 + tangents, parts, excitation, voxel)."""
    compiled = kernels()
    assert compiled is not None
    dispatch.announce(compiled.signals)
    voxels = len(tissue[0])
    out = torch.empty(
        1 + len(moves), 2 if len(fixed.turns) else 1, schedule.shape[1], voxels, dtype=tissue[0].dtype
    )
    arguments = (
        _numpy(schedule.double()),
        fixed.kinds,
        fixed.turns,
        fixed.states,
        fixed.shifts,
        fixed.crossed,
        *(_numpy(part) for part in tissue),
        np.array(moves, dtype=np.int64),
        _numpy(by_schedule.double()),
        _numpy(by_tissue),
    )
    result = out.numpy()
    dispatch.spread(
        lambda *span: compiled.signals(*arguments, *span, result),
        voxels,
        lanes=compiled.LANES,
        least=_WORTH_A_THREAD,
    )
    return out


def _numpy(tensor: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = tensor.detach().contiguous().numpy()
    return found


class _Graph(torch.autograd.Function):
    """(parts, excitation, voxel) echoes of schedule (5, excitation) and tissue (voxel)."""

    @staticmethod
    def forward(
        schedule: Tensor, t1: Tensor, t2: Tensor, b1: Tensor, efficiency: Tensor, fixed: _Fixed
    ) -> Tensor:
        nothing = (
            torch.zeros(0, 4, len(t1), dtype=t1.dtype),
            torch.zeros(0, *schedule.shape, dtype=torch.float64),
        )
        return _run(schedule, [t1, t2, b1, efficiency], fixed, *nothing, ())[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.fixed = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, bars: Tensor) -> tuple[Tensor | None, ...]:
        compiled, fixed = kernels(), ctx.fixed
        assert compiled is not None
        dispatch.announce(compiled.gradients)
        schedule, *tissue = ctx.saved_tensors
        by_tissue = torch.empty(4, len(tissue[0]), dtype=bars.dtype)
        pulses = schedule.shape[1]
        arguments = (
            _numpy(schedule.double()),
            fixed.kinds,
            fixed.turns,
            fixed.states,
            fixed.shifts,
            fixed.crossed,
            *(_numpy(part) for part in tissue),
            _numpy(bars),
            max(2, round(pulses**0.5)),
        )
        result, shares = by_tissue.numpy(), {}

        def run(begin: int, end: int) -> None:
            share = np.zeros((5, pulses))
            compiled.gradients(*arguments, begin, end, share, result)
            shares[begin, end] = share

        dispatch.spread(run, len(tissue[0]), lanes=compiled.LANES, least=_WORTH_A_THREAD)
        by_schedule = torch.from_numpy(sum(shares[span] for span in sorted(shares))).to(schedule)
        return by_schedule, *by_tissue.unbind(), None

    @staticmethod
    def jvp(ctx: Any, *directions: Tensor | None) -> Tensor:
        schedule, *tissue = ctx.saved_tensors
        by_schedule, *by_tissue = (
            torch.zeros_like(value) if direction is None else direction
            for value, direction in zip((schedule, *tissue), directions[:-1], strict=True)
        )
        return _Along.apply(schedule, *tissue, by_schedule, *by_tissue, ctx.fixed)


class _Along(torch.autograd.Function):
    """The derivative of `_Graph` along one direction; a function of its own, so that transforms unwrap its tensors."""

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        schedule, t1, t2, b1, efficiency, by_schedule, *by_tissue, fixed = inputs
        tissue = [t1, t2, b1, efficiency]
        return _run(schedule, tissue, fixed, torch.stack(by_tissue)[None], by_schedule[None], (7,))[1]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *bars: Tensor) -> Tensor:
        raise NotImplementedError("compiled phase graphs have first derivatives only: ask for compiled=False")

    @staticmethod
    def jvp(ctx: Any, *directions: Tensor | None) -> Tensor:
        raise NotImplementedError("compiled phase graphs have first derivatives only: ask for compiled=False")
