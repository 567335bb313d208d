"""Bloch equations of isochromats through the steps of a sequence.

Rotations are right-handed about the effective axis: a rotation about x turns the equilibrium towards -y, and positive
off-resonance turns transverse magnetisation forward, exp(+i 2π B0 t).
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from fastqmri.core import ShapeError
from fastqmri.solvers import dispatch

_SERIES = 1e-2


def isochromats(
    steps: Tensor,
    readout: Tensor,
    spoiled: Tensor,
    tissue: Tensor,
    position: Tensor,
    start: Tensor | None = None,
    *,
    compiled: bool | None = None,
) -> Tensor:
    """Magnetisation of isochromats at the readouts of a sequence, in units of the equilibrium.

    A step relaxes for half its duration, rotates by the true angle about the effective axis, and relaxes for the
    other half: exact without radio frequency, of second order in the duration with it. Differentiable in both modes
    with respect to ``steps``, ``tissue`` and ``start``; the compiled form computes in double precision.

    Args:
        steps: (step, 6): rotation by the radio frequency about x and y in rad, gradient moment γ∫G dt along x, y
            and z in rad/m, duration in s.
        readout: (step,) row of the result that the state after the step goes to, or -1.
        spoiled: (step,) whether transverse magnetisation ends with the step, after any readout.
        tissue: (4, isochromat): B1 as a fraction, off-resonance in Hz, T1 and T2 in s.
        position: (3, isochromat) in m.
        start: (3, isochromat); None for equilibrium.
        compiled: use the compiled kernels; None where they can be had.

    Returns:
        (readout, 3, isochromat).

    Raises:
        ShapeError: arguments that do not belong together.
    """
    count = tissue.shape[-1]
    if steps.shape[-1:] != (6,) or tissue.shape != (4, count) or position.shape != (3, count):
        raise ShapeError(
            f"steps {tuple(steps.shape)}, tissue {tuple(tissue.shape)}, positions {tuple(position.shape)}",
            "they must be (step, 6), (4, isochromat) and (3, isochromat).",
            "Give every isochromat its tissue and its place.",
        )
    if start is None:
        start = torch.zeros_like(tissue[:3])
        start[2] = 1
    b1, frequency, t1, t2 = tissue
    rates = torch.stack([b1, 2 * torch.pi * frequency, 1 / t1, 1 / t2])
    if compiled is None:
        compiled = tissue.device.type == "cpu" and kernels() is not None
    if not compiled:
        return _plain(steps, readout, spoiled, rates, position, start)
    doubles = (part.double() for part in (steps, rates, start, position))
    return _Compiled.apply(*doubles, readout, spoiled).to(tissue.dtype)


@functools.cache
def kernels() -> ModuleType | None:
    """The compiled kernels, or None where numba cannot be had."""
    if dispatch.kernels() is None:
        return None
    from fastqmri.physics.spins.compiled import isochromats as module

    return module


def changes(
    steps: Tensor, readout: Tensor, spoiled: Tensor, tissue: Tensor, position: Tensor
) -> tuple[Tensor, Tensor]:
    """Magnetisation from equilibrium, and its derivatives by the four rows of ``tissue``.

    One pass for all of them; see `isochromats` for the arguments.

    Returns:
        (readout, 3, isochromat) and (4, readout, 3, isochromat).
    """
    like = tissue

    def function(rows: Tensor) -> Tensor:
        return isochromats(steps, readout, spoiled, rows, position)

    if tissue.device.type != "cpu" or kernels() is None:
        results = [
            dispatch.jvp(function, tissue, row)
            for row in torch.eye(4, dtype=tissue.dtype, device=tissue.device)[:, :, None].expand(
                -1, -1, tissue.shape[1]
            )
        ]
        return results[0][0], torch.stack([result[1] for result in results])
    steps, tissue, position = steps.detach().double(), tissue.detach().double(), position.double()
    b1, frequency, t1, t2 = tissue
    rates = torch.stack([b1, 2 * torch.pi * frequency, 1 / t1, 1 / t2])
    directions = torch.zeros(4, 7, tissue.shape[1], dtype=torch.float64)
    directions[0, 3] = 1
    directions[1, 4] = 2 * torch.pi
    directions[2, 5] = -1 / t1**2
    directions[3, 6] = -1 / t2**2
    start = torch.zeros_like(tissue[:3])
    start[2] = 1
    none = torch.zeros(4, *steps.shape, dtype=torch.float64)
    value, derivatives = _tangents(steps, rates, start, position, readout, spoiled, none, directions)
    return value.to(like.dtype), derivatives.to(like.dtype)


class _Compiled(torch.autograd.Function):
    """(steps, rates, start, position, readout, spoiled) -> magnetisation, by the compiled kernels."""

    @staticmethod
    def forward(
        steps: Tensor, rates: Tensor, start: Tensor, position: Tensor, readout: Tensor, spoiled: Tensor
    ) -> Tensor:
        module = kernels()
        assert module is not None
        arguments = _arrays(steps, rates, start, position, readout, spoiled)
        out = torch.empty(_rows(readout), *start.shape, dtype=torch.float64)
        result = out.numpy()
        _spread(lambda begin, end: module.magnetisation(*arguments, begin, end, result), start.shape[1])
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        module = kernels()
        assert module is not None
        steps, rates, start, position, readout, spoiled = ctx.saved_tensors
        arguments = _arrays(steps, rates, start, position, readout, spoiled)
        weights = gradients[0].contiguous().numpy()
        by_tissue = torch.empty(7, start.shape[1], dtype=torch.float64)
        result = by_tissue.numpy()
        parts: dict[int, Tensor] = {}

        def run(begin: int, end: int) -> None:
            part = torch.zeros_like(steps, memory_format=torch.contiguous_format)
            module.adjoint(*arguments, weights, begin, end, result, part.numpy())
            parts[end] = part

        _spread(run, start.shape[1])
        by_steps = torch.stack([parts[end] for end in sorted(parts)]).sum(0)
        return by_steps, by_tissue[3:], by_tissue[:3], None, None, None

    @staticmethod
    def jvp(ctx: Any, *directions: Tensor | None) -> Tensor:
        steps, rates, start, position, readout, spoiled = ctx.saved_tensors
        by_steps, by_rates, by_start = (
            torch.zeros_like(primal) if direction is None else direction
            for primal, direction in zip((steps, rates, start), directions[:3], strict=True)
        )
        rows = torch.cat([by_start, by_rates])[None]
        return _Directional.apply(steps, rates, start, position, readout, spoiled, by_steps[None], rows)[0]


class _Directional(torch.autograd.Function):
    """Derivatives along directions: a function of its own, so that it meets plain tensors under any transform."""

    @staticmethod
    def forward(*arguments: Tensor) -> Tensor:
        return _tangents(*arguments)[1]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        pass


def _tangents(
    steps: Tensor,
    rates: Tensor,
    start: Tensor,
    position: Tensor,
    readout: Tensor,
    spoiled: Tensor,
    directions: Tensor,
    tissue_directions: Tensor,
) -> tuple[Tensor, Tensor]:
    module = kernels()
    assert module is not None
    arguments = _arrays(steps, rates, start, position, readout, spoiled)
    ways = directions.contiguous().numpy(), tissue_directions.contiguous().numpy()
    out = torch.empty(_rows(readout), *start.shape, dtype=torch.float64)
    changed = torch.empty(len(directions), *out.shape, dtype=torch.float64)
    results = out.numpy(), changed.numpy()
    _spread(lambda begin, end: module.tangents(*arguments, *ways, begin, end, *results), start.shape[1])
    return out, changed


def _arrays(
    steps: Tensor, rates: Tensor, start: Tensor, position: Tensor, readout: Tensor, spoiled: Tensor
) -> tuple[Any, ...]:
    tissue = torch.cat([rates, position])
    return (
        steps.contiguous().numpy(),
        readout.contiguous().numpy(),
        spoiled.contiguous().numpy(),
        tissue.numpy(),
        start.contiguous().numpy(),
    )


def _rows(readout: Tensor) -> int:
    return int(readout.max()) + 1 if len(readout) else 0


def _spread(run: Any, count: int) -> None:
    module = kernels()
    assert module is not None
    dispatch.spread(run, count, lanes=module.LANES, least=4 * module.LANES)


def _plain(
    steps: Tensor, readout: Tensor, spoiled: Tensor, rates: Tensor, position: Tensor, start: Tensor
) -> Tensor:
    """The same in plain PyTorch."""
    b1, frequency, r1, r2 = rates
    x, y, z = start
    steps = steps.to(rates)
    turn = steps[:, 2:5] @ position + steps[:, 5:] * frequency
    recorded: dict[int, Tensor] = {}
    for i, (step, row, spoil) in enumerate(zip(steps, readout.tolist(), spoiled.tolist(), strict=True)):
        h1, h2 = torch.exp(-0.5 * step[5] * r1), torch.exp(-0.5 * step[5] * r2)
        wx, wy, wz = b1 * step[0], b1 * step[1], turn[i]
        a, b = _rotation(wx * wx + wy * wy + wz * wz)
        x, y, z = x * h2, y * h2, 1 + (z - 1) * h1
        cx, cy, cz = wy * z - wz * y, wz * x - wx * z, wx * y - wy * x
        dx, dy, dz = wy * cz - wz * cy, wz * cx - wx * cz, wx * cy - wy * cx
        x, y, z = x + a * cx + b * dx, y + a * cy + b * dy, z + a * cz + b * dz
        x, y, z = x * h2, y * h2, 1 + (z - 1) * h1
        if row >= 0:
            recorded[row] = torch.stack([x, y, z])
        if spoil:
            x, y = torch.zeros_like(x), torch.zeros_like(y)
    return torch.stack([recorded[row] for row in sorted(recorded)])


def _rotation(square: Tensor) -> tuple[Tensor, Tensor]:
    """sin θ/θ and (1 - cos θ)/θ² of θ²."""
    small = square < _SERIES
    theta = torch.where(small, torch.ones_like(square), square).sqrt()
    near = torch.where(small, square, torch.zeros_like(square))
    a = 1 - near / 6 * (1 - near / 20 * (1 - near / 42 * (1 - near / 72)))
    b = 0.5 - near / 24 * (1 - near / 30 * (1 - near / 56 * (1 - near / 90)))
    half = torch.sin(theta / 2) / theta
    return torch.where(small, a, torch.sin(theta) / theta), torch.where(small, b, 2 * half * half)
