"""Compiled Bloch equations: one block of isochromats at a time, SIMD over its lanes.

A step relaxes for half its duration, rotates by the true angle about the effective axis, and relaxes for the other
half; without radio frequency that is exact, with it of second order in the duration. Where nothing looks at the
magnetisation in between, the halves of two steps are one. The rotation about the vector w
is I + A [w] + B [w]², and a change dw of w turns the result by J dw, J = A I + B [w] + C w wᵀ; A = sin θ/θ,
B = (1 - cos θ)/θ² and C = (1 - A)/θ² depend on θ² = |w|² alone, so that small angles need no root and no division.

The PyTorch form in `fastqmri.physics.spins.bloch` is the oracle of every kernel here.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from fastqmri.solvers.compiled import _exp_finely

LANES = 128
_MATH = {"reassoc", "contract", "arcp", "nsz"}
_TURN_HIGH = 6.283185303211212  # 2π in 30 bits: products with whole numbers below 2^23 are exact
_TURN_LOW = 3.968374318722162e-09  # what is left of it
_SMALL = 1.0  # θ² up to which the series hold to rounding
_TINY = 0.02  # θ² up to which four terms do, to 1e-15 a step
# kinds of step: no radio frequency, θ² below _TINY or below _SMALL in all lanes, the rest
_FREE, _FINE, _WEAK, _STRONG = 0, 1, 2, 3

# rows of the workspace
_X, _Y, _Z = (i * LANES for i in range(3))
_B1, _OFF, _R1, _R2 = (i * LANES for i in range(3, 7))
_PX, _PY, _PZ = (i * LANES for i in range(7, 10))
_H1, _H2 = (i * LANES for i in range(10, 12))  # exp(-R time)
_A, _B, _C, _WX, _WY, _WZ = (i * LANES for i in range(12, 18))
_TX, _TY, _TZ, _UX, _UY, _UZ = (i * LANES for i in range(18, 24))  # before and after the rotation
_LX, _LY, _LZ = (i * LANES for i in range(24, 27))  # adjoint of the magnetisation
_GB, _GO, _G1, _G2 = (i * LANES for i in range(27, 31))  # gradients by B1, off-resonance, R1, R2
_DX, _DY, _DZ, _DB, _DO, _D1, _D2 = (i * LANES for i in range(31, 38))  # the tangent at work
_TURNED = 38 * LANES  # square of the row _WZ, or 1 - cosine of it
# numbers of the whole block: the time of _H1 and _H2; the moments and time of _WZ, and whether it holds the sine; the
# relaxation that is owed
_TIME, _MOMENT, _FREELY, _OWED = (39 * LANES + i for i in (0, 1, 5, 6))
_SIZE = 40 * LANES


@njit(fastmath=_MATH, forceinline=True)
def _sine_cosine(angle):
    """sin and 1 - cos of any angle."""
    n = np.floor(angle * (1 / (2 * math.pi)) + 0.5)
    h = 0.5 * ((angle - n * _TURN_HIGH) - n * _TURN_LOW)
    y = h * h
    s = h * _odd(y)
    c = 1.0 - y * (
        1 / 2
        - y
        * (
            1 / 24
            - y
            * (
                1 / 720
                - y
                * (
                    1 / 40320
                    - y
                    * (
                        1 / 3628800
                        - y
                        * (
                            1 / 479001600
                            - y * (1 / 87178291200 - y * (1 / 20922789888000 - y * (1 / 6402373705728000)))
                        )
                    )
                )
            )
        )
    )
    return 2.0 * s * c, 2.0 * s * s


@njit(fastmath=_MATH, forceinline=True)
def _odd(y):
    """sin(h)/h of y = h² up to (π/2)²."""
    return 1.0 - y * (
        1 / 6
        - y
        * (
            1 / 120
            - y
            * (
                1 / 5040
                - y
                * (
                    1 / 362880
                    - y
                    * (
                        1 / 39916800
                        - y
                        * (
                            1 / 6227020800
                            - y
                            * (1 / 1307674368000 - y * (1 / 355687428096000 - y * (1 / 121645100408832000)))
                        )
                    )
                )
            )
        )
    )


@njit(fastmath=_MATH, forceinline=True)
def _series(y):
    """A, B and C of y = θ² up to one."""
    c = 1 / 6 - y * (
        1 / 120
        - y
        * (1 / 5040 - y * (1 / 362880 - y * (1 / 39916800 - y * (1 / 6227020800 - y * (1 / 1307674368000)))))
    )
    b = 1 / 2 - y * (
        1 / 24
        - y
        * (
            1 / 720
            - y
            * (
                1 / 40320
                - y * (1 / 3628800 - y * (1 / 479001600 - y * (1 / 87178291200 - y / 20922789888000)))
            )
        )
    )
    return 1.0 - y * c, b, c


@njit(fastmath=_MATH, forceinline=True)
def _short_series(y):
    """A and B of y = θ² up to _TINY."""
    c = 1 / 6 - y * (1 / 120 - y * (1 / 5040 - y * (1 / 362880)))
    b = 1 / 2 - y * (1 / 24 - y * (1 / 720 - y * (1 / 40320)))
    return 1.0 - y * c, b


@njit(fastmath=_MATH, error_model="numpy", forceinline=True)
def _closed(y):
    """A, B and C of any y = θ²."""
    a, b, c = _series(min(y, _SMALL))
    large = max(y, _SMALL)
    theta = np.sqrt(large)
    s, d = _sine_cosine(theta)
    inverse = 1.0 / large
    s = s * theta * inverse
    small = y <= _SMALL
    return a if small else s, b if small else d * inverse, c if small else (1.0 - s) * inverse


@njit(fastmath=_MATH, error_model="numpy")
def _kind(most, steps, i):
    """What the largest angle that a block can have makes of a step."""
    transverse = steps[i, 0] ** 2 + steps[i, 1] ** 2
    if transverse == 0.0:
        return _FREE
    z = most[1] * abs(steps[i, 5])
    for axis in range(3):
        z += most[4 + axis] * abs(steps[i, 2 + axis])
    square = transverse * most[0] ** 2 + z * z
    if square <= _TINY:
        return _FINE
    return _WEAK if square <= _SMALL else _STRONG


@njit(fastmath=_MATH, forceinline=True)
def _turned(x, y, z, wx, wy, wz, a, b):
    """The vector after the rotation."""
    cx, cy, cz = wy * z - wz * y, wz * x - wx * z, wx * y - wy * x
    dx, dy, dz = wy * cz - wz * cy, wz * cx - wx * cz, wx * cy - wy * cx
    return x + a * cx + b * dx, y + a * cy + b * dy, z + a * cz + b * dz


@njit(fastmath=_MATH, error_model="numpy")
def _load(tissue, start, begin, lanes, ws, most):
    """Fill a block, and note the largest magnitude of each row; lanes beyond the last isochromat repeat it."""
    for row in range(7):
        most[row] = 0.0
        for v in range(LANES):
            value = tissue[row, begin + min(v, lanes - 1)]
            ws[_B1 + row * LANES + v] = value
            most[row] = max(most[row], abs(value))
    for row in range(3):
        for v in range(LANES):
            ws[row * LANES + v] = start[row, begin + min(v, lanes - 1)]
    ws[_TIME] = ws[_MOMENT] = math.nan
    ws[_OWED] = 0.0


@njit(fastmath=_MATH, error_model="numpy")
def _decay(ws, time):
    """Relaxation during a time, unless it is the one at hand."""
    if ws[_TIME] == time:
        return
    ws[_TIME] = time
    for v in range(LANES):
        ws[_H1 + v] = _exp_finely(-time * ws[_R1 + v])
        ws[_H2 + v] = _exp_finely(-time * ws[_R2 + v])


@njit(fastmath=_MATH, error_model="numpy")
def _turn(ws, steps, i, free):
    """Angle about z of a step and its square, or where it is free sine and 1 - cosine, unless they are at hand."""
    same = ws[_FREELY] == free
    for k in range(4):
        same = same and ws[_MOMENT + k] == steps[i, 2 + k]
    if same:
        return
    ws[_FREELY] = free
    for k in range(4):
        ws[_MOMENT + k] = steps[i, 2 + k]
    kx, ky, kz, duration = steps[i, 2], steps[i, 3], steps[i, 4], steps[i, 5]
    for v in range(LANES):
        wz = ws[_OFF + v] * duration + ws[_PX + v] * kx + ws[_PY + v] * ky + ws[_PZ + v] * kz
        ws[_WZ + v] = wz
        ws[_TURNED + v] = wz * wz
    if free:
        for v in range(LANES):
            ws[_WZ + v], ws[_TURNED + v] = _sine_cosine(ws[_WZ + v])


@njit(fastmath=_MATH, error_model="numpy")
def _settle(ws):
    """Give the block the relaxation that it is still owed."""
    owed = ws[_OWED]
    if owed == 0.0:
        return
    ws[_OWED] = 0.0
    _decay(ws, owed)
    for v in range(LANES):
        ws[_X + v] *= ws[_H2 + v]
        ws[_Y + v] *= ws[_H2 + v]
        ws[_Z + v] = 1.0 + (ws[_Z + v] - 1.0) * ws[_H1 + v]


@njit(fastmath=_MATH, error_model="numpy")
def _advance(ws, most, steps, i):
    """One step of a block up to its rotation; the relaxation after it is owed, and merges with that of the next."""
    ax, ay, duration = steps[i, 0], steps[i, 1], steps[i, 5]
    kind = _kind(most, steps, i)
    _turn(ws, steps, i, kind == _FREE)
    if kind == _FREE:
        # relaxation and precession commute
        ws[_OWED] += duration
        for v in range(LANES):
            s, d = ws[_WZ + v], ws[_TURNED + v]
            x, y = ws[_X + v], ws[_Y + v]
            ws[_X + v] = x - d * x - s * y
            ws[_Y + v] = y - d * y + s * x
        return
    _decay(ws, ws[_OWED] + 0.5 * duration)
    ws[_OWED] = 0.5 * duration
    if kind == _FINE:
        for v in range(LANES):
            h2, b1, wz = ws[_H2 + v], ws[_B1 + v], ws[_WZ + v]
            wx, wy = b1 * ax, b1 * ay
            a, b = _short_series(wx * wx + wy * wy + ws[_TURNED + v])
            ws[_X + v], ws[_Y + v], ws[_Z + v] = _turned(
                ws[_X + v] * h2, ws[_Y + v] * h2, 1.0 + (ws[_Z + v] - 1.0) * ws[_H1 + v], wx, wy, wz, a, b
            )
    elif kind == _WEAK:
        for v in range(LANES):
            h2, b1, wz = ws[_H2 + v], ws[_B1 + v], ws[_WZ + v]
            wx, wy = b1 * ax, b1 * ay
            a, b, _ = _series(wx * wx + wy * wy + ws[_TURNED + v])
            ws[_X + v], ws[_Y + v], ws[_Z + v] = _turned(
                ws[_X + v] * h2, ws[_Y + v] * h2, 1.0 + (ws[_Z + v] - 1.0) * ws[_H1 + v], wx, wy, wz, a, b
            )
    else:
        for v in range(LANES):
            h2, b1, wz = ws[_H2 + v], ws[_B1 + v], ws[_WZ + v]
            wx, wy = b1 * ax, b1 * ay
            a, b, _ = _closed(wx * wx + wy * wy + ws[_TURNED + v])
            ws[_X + v], ws[_Y + v], ws[_Z + v] = _turned(
                ws[_X + v] * h2, ws[_Y + v] * h2, 1.0 + (ws[_Z + v] - 1.0) * ws[_H1 + v], wx, wy, wz, a, b
            )


@njit(fastmath=_MATH, error_model="numpy")
def _spoil(ws, x):
    for v in range(LANES):
        ws[x + v] = 0.0
        ws[x + LANES + v] = 0.0


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def magnetisation(steps, readout, spoiled, tissue, start, begin, end, out):
    """Magnetisation at the readouts.

    Args:
        steps: (step, 6): rotation by the radio frequency about x and y in rad, gradient moment along x, y and z in
            rad/m, duration in s.
        readout: (step,) row of ``out`` that the state after the step goes to, or -1.
        spoiled: (step,) whether transverse magnetisation ends with the step, after any readout.
        tissue: (7, isochromat): B1 as a fraction, off-resonance in rad/s, R1, R2 in 1/s, x, y, z in m.
        start: (3, isochromat), in units of the equilibrium.
        begin, end: isochromats of this call; calls on separate ranges may run in parallel threads.
        out: (readout, 3, isochromat).
    """
    ws, most = np.zeros(_SIZE), np.zeros(7)
    for block in range(begin, end, LANES):
        lanes = min(LANES, end - block)
        _load(tissue, start, block, lanes, ws, most)
        for i in range(steps.shape[0]):
            _advance(ws, most, steps, i)
            row = readout[i]
            if row >= 0:
                _settle(ws)
                for c in range(3):
                    for v in range(lanes):
                        out[row, c, block + v] = ws[c * LANES + v]
            if spoiled[i]:
                _spoil(ws, _X)


@njit(fastmath=_MATH, error_model="numpy")
def _rotate(ws, steps, i):
    """A step up to the end of its rotation; what derivatives need of it stays in the workspace."""
    ax, ay = steps[i, 0], steps[i, 1]
    _decay(ws, 0.5 * steps[i, 5])
    _turn(ws, steps, i, False)
    for v in range(LANES):
        b1 = ws[_B1 + v]
        wx, wy = b1 * ax, b1 * ay
        ws[_WX + v] = wx
        ws[_WY + v] = wy
        ws[_A + v], ws[_B + v], ws[_C + v] = _closed(wx * wx + wy * wy + ws[_TURNED + v])
    for v in range(LANES):
        h1, h2 = ws[_H1 + v], ws[_H2 + v]
        x, y, z = ws[_X + v] * h2, ws[_Y + v] * h2, 1.0 + (ws[_Z + v] - 1.0) * h1
        ws[_TX + v] = x
        ws[_TY + v] = y
        ws[_TZ + v] = z
        x, y, z = _turned(x, y, z, ws[_WX + v], ws[_WY + v], ws[_WZ + v], ws[_A + v], ws[_B + v])
        ws[_UX + v] = x
        ws[_UY + v] = y
        ws[_UZ + v] = z
        ws[_X + v] = x * h2
        ws[_Y + v] = y * h2
        ws[_Z + v] = 1.0 + (z - 1.0) * h1


@njit(fastmath=_MATH, error_model="numpy")
def _carry(ws, steps, directions, t, i):
    """One step of the tangent at work."""
    ax, ay, duration = steps[i, 0], steps[i, 1], steps[i, 5]
    dax, day, longer = directions[t, i, 0], directions[t, i, 1], directions[t, i, 5]
    dkx, dky, dkz = directions[t, i, 2], directions[t, i, 3], directions[t, i, 4]
    for v in range(LANES):
        h1, h2, b1 = ws[_H1 + v], ws[_H2 + v], ws[_B1 + v]
        wx, wy, wz = ws[_WX + v], ws[_WY + v], ws[_WZ + v]
        a, b, c = ws[_A + v], ws[_B + v], ws[_C + v]
        l1 = -0.5 * (ws[_D1 + v] * duration + ws[_R1 + v] * longer)
        l2 = -0.5 * (ws[_D2 + v] * duration + ws[_R2 + v] * longer)
        x = h2 * ws[_DX + v] + l2 * ws[_TX + v]
        y = h2 * ws[_DY + v] + l2 * ws[_TY + v]
        z = h1 * ws[_DZ + v] + l1 * (ws[_TZ + v] - 1.0)
        x, y, z = _turned(x, y, z, wx, wy, wz, a, b)
        db = ws[_DB + v]
        ux, uy = db * ax + b1 * dax, db * ay + b1 * day
        uz = ws[_DO + v] * duration + ws[_OFF + v] * longer
        uz += ws[_PX + v] * dkx + ws[_PY + v] * dky + ws[_PZ + v] * dkz
        along = c * (wx * ux + wy * uy + wz * uz)
        gx = a * ux + b * (wy * uz - wz * uy) + along * wx
        gy = a * uy + b * (wz * ux - wx * uz) + along * wy
        gz = a * uz + b * (wx * uy - wy * ux) + along * wz
        mx, my, mz = ws[_UX + v], ws[_UY + v], ws[_UZ + v]
        x += gy * mz - gz * my
        y += gz * mx - gx * mz
        z += gx * my - gy * mx
        ws[_DX + v] = h2 * (x + l2 * mx)
        ws[_DY + v] = h2 * (y + l2 * my)
        ws[_DZ + v] = h1 * (z + l1 * (mz - 1.0))


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def tangents(steps, readout, spoiled, tissue, start, directions, tissue_directions, begin, end, out, changes):
    """Magnetisation at the readouts and its change along given directions.

    Args:
        steps, readout, spoiled, tissue, start, begin, end, out: as in `magnetisation`.
        directions: (tangent, step, 6) changes of the steps.
        tissue_directions: (tangent, 7, isochromat) changes of the start's three rows, then of B1, off-resonance,
            R1 and R2.
        changes: (tangent, readout, 3, isochromat).
    """
    count = directions.shape[0]
    ws, most = np.zeros(_SIZE), np.zeros(7)
    carried = np.zeros((count, 7 * LANES))
    for block in range(begin, end, LANES):
        lanes = min(LANES, end - block)
        _load(tissue, start, block, lanes, ws, most)
        for t in range(count):
            for row in range(7):
                for v in range(LANES):
                    carried[t, row * LANES + v] = tissue_directions[t, row, block + min(v, lanes - 1)]
        for i in range(steps.shape[0]):
            _rotate(ws, steps, i)
            for t in range(count):
                for v in range(7 * LANES):
                    ws[_DX + v] = carried[t, v]
                _carry(ws, steps, directions, t, i)
                for v in range(3 * LANES):
                    carried[t, v] = ws[_DX + v]
            row = readout[i]
            if row >= 0:
                for c in range(3):
                    for v in range(lanes):
                        out[row, c, block + v] = ws[c * LANES + v]
                    for t in range(count):
                        for v in range(lanes):
                            changes[t, row, c, block + v] = carried[t, c * LANES + v]
            if spoiled[i]:
                _spoil(ws, _X)
                for t in range(count):
                    carried[t, : 2 * LANES] = 0.0


@njit(fastmath=_MATH, error_model="numpy")
def _return(ws, steps, i, by_steps):
    """One step of the adjoint, backwards."""
    ax, ay, duration = steps[i, 0], steps[i, 1], steps[i, 5]
    sx, sy, kx, ky, kz, longer = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for v in range(LANES):
        h1, h2, b1 = ws[_H1 + v], ws[_H2 + v], ws[_B1 + v]
        wx, wy, wz = ws[_WX + v], ws[_WY + v], ws[_WZ + v]
        a, b, c = ws[_A + v], ws[_B + v], ws[_C + v]
        mx, my, mz = ws[_UX + v], ws[_UY + v], ws[_UZ + v]
        lx, ly, lz = h2 * ws[_LX + v], h2 * ws[_LY + v], h1 * ws[_LZ + v]
        g1 = (mz - 1.0) * lz
        g2 = mx * lx + my * ly
        gx, gy, gz = my * lz - mz * ly, mz * lx - mx * lz, mx * ly - my * lx
        along = c * (wx * gx + wy * gy + wz * gz)
        ux = a * gx - b * (wy * gz - wz * gy) + along * wx
        uy = a * gy - b * (wz * gx - wx * gz) + along * wy
        uz = a * gz - b * (wx * gy - wy * gx) + along * wz
        lx, ly, lz = _turned(lx, ly, lz, -wx, -wy, -wz, a, b)
        g1 += (ws[_TZ + v] - 1.0) * lz
        g2 += ws[_TX + v] * lx + ws[_TY + v] * ly
        ws[_LX + v] = h2 * lx
        ws[_LY + v] = h2 * ly
        ws[_LZ + v] = h1 * lz
        ws[_GB + v] += ax * ux + ay * uy
        ws[_GO + v] += duration * uz
        ws[_G1 + v] -= 0.5 * duration * g1
        ws[_G2 + v] -= 0.5 * duration * g2
        sx += b1 * ux
        sy += b1 * uy
        kx += ws[_PX + v] * uz
        ky += ws[_PY + v] * uz
        kz += ws[_PZ + v] * uz
        longer += ws[_OFF + v] * uz - 0.5 * (ws[_R1 + v] * g1 + ws[_R2 + v] * g2)
    by_steps[i, 0] += sx
    by_steps[i, 1] += sy
    by_steps[i, 2] += kx
    by_steps[i, 3] += ky
    by_steps[i, 4] += kz
    by_steps[i, 5] += longer


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def adjoint(steps, readout, spoiled, tissue, start, weights, begin, end, by_tissue, by_steps):
    """Gradient of the sum of ``weights`` times the magnetisation at the readouts.

    The states of a block are kept at every √steps-th step and computed again between those.

    Args:
        steps, readout, spoiled, tissue, start, begin, end: as in `magnetisation`.
        weights: (readout, 3, isochromat).
        by_tissue: (7, isochromat): by the start's three rows, then by B1, off-resonance, R1 and R2.
        by_steps: (step, 6); this call's isochromats are added.
    """
    count = steps.shape[0]
    segment = max(1, int(math.sqrt(count)))
    segments = (count + segment - 1) // segment
    kept, states = np.empty((segments, 3 * LANES)), np.empty((segment, 3 * LANES))
    ws, most = np.zeros(_SIZE), np.zeros(7)
    for block in range(begin, end, LANES):
        lanes = min(LANES, end - block)
        _load(tissue, start, block, lanes, ws, most)
        for i in range(count):
            if i % segment == 0:
                _settle(ws)
                kept[i // segment] = ws[: 3 * LANES]
            _advance(ws, most, steps, i)
            if spoiled[i]:
                _spoil(ws, _X)
        ws[_LX : _LX + 7 * LANES] = 0.0
        for s in range(segments - 1, -1, -1):
            first, last = s * segment, min(count, (s + 1) * segment)
            ws[_OWED] = 0.0
            ws[: 3 * LANES] = kept[s]
            for i in range(first, last):
                states[i - first] = ws[: 3 * LANES]
                if i + 1 < last:
                    _advance(ws, most, steps, i)
                    _settle(ws)
                    if spoiled[i]:
                        _spoil(ws, _X)
            for i in range(last - 1, first - 1, -1):
                if spoiled[i]:
                    _spoil(ws, _LX)
                row = readout[i]
                if row >= 0:
                    for c in range(3):
                        for v in range(lanes):
                            ws[_LX + c * LANES + v] += weights[row, c, block + v]
                ws[: 3 * LANES] = states[i - first]
                _rotate(ws, steps, i)
                _return(ws, steps, i, by_steps)
        for row in range(7):
            for v in range(lanes):
                by_tissue[row, block + v] = ws[_LX + row * LANES + v]
