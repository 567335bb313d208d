"""Compiled extended phase graphs of a train: signals with tangents, and gradients by checkpointed recomputation.

A block of lanes (voxels) is carried through the whole train. A slot of the workspace holds the states of one moment,
F_k, G_k, Z_k one row of lanes after the other, with a spare state before k = 0 and two after the last. Complex states
are two slots (real, imaginary): in the frame that turns with the pulses' phase, pulses mix F, G, Z with real numbers,
so that the parts meet only where that frame turns on.

Coefficients of a repetition are computed in float64, states have the type of the tissue arrays. 1 - exp(-t/T1) and
sin²(α/2) are kept instead of the numbers near one, which single precision would spoil. The PyTorch form in `epg` is
the oracle.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

LANES = 32
_L = LANES
_K = 3 * LANES  # from one state to the next
_EXACT = {"contract", "nsz"}  # lanes need no reassociation
_SUM = {"contract", "nsz", "reassoc"}
_U = np.uint64  # unsigned indices are not checked for being negative

_INTEGER = 6755399441055744.0  # 1.5 * 2**52: a float64 plus this holds its integer in the lowest bits

# rows of the coefficients
_A, _A2, _S, _H, _X, _E2, _ET = (
    i * LANES for i in range(7)
)  # sin²(α/2), twice that, sin α, half that, 1 - E1, E2, echo
_RATE1, _RATE2, _B1, _QUALITY = (i * LANES for i in range(7, 11))
_FACTOR, _WAITED = (
    11 * LANES,
    12 * LANES,
)  # of a preparation: what it leaves of Z, recovery of the wait after it
_FG, _Z, _J, _ECHO = (i * LANES for i in range(13, 17))  # inner products of the adjoint
_BAR = 17 * LANES
_ROWS = 18 * LANES
# rows of a tangent's coefficients
_LONG, _TRANS, _BETA, _BETA2, _LATE = (i * LANES for i in range(5))
_DT1, _DT2, _DB1, _DQ = (i * LANES for i in range(5, 9))
_LEAVING, _WAITING = (
    9 * LANES,
    10 * LANES,
)  # of a preparation: of the logarithm of what it leaves, of the wait
_TROWS = 11 * LANES

BY_T1, BY_T2, BY_ALL = 1, 2, 7
"""What a tangent moves: only T1, only T2, anything."""


@intrinsic
def _two_to_the(context, k):
    """2^k of a whole float64."""

    def generate(context, builder, signature, arguments):
        bits = builder.bitcast(
            builder.fadd(arguments[0], ir.Constant(ir.DoubleType(), _INTEGER)), ir.IntType(64)
        )
        shifted = builder.shl(bits, ir.Constant(ir.IntType(64), 52))
        one = ir.Constant(ir.IntType(64), 1023 << 52)
        return builder.bitcast(builder.add(shifted, one), ir.DoubleType())

    return types.float64(types.float64), generate


@njit(fastmath=_EXACT, error_model="numpy")
def _lost(x):
    """1 - exp(-x) for x >= 0, to the last digits also where x is small."""
    y = max(-x, -700.0)
    k = np.floor(y * 1.4426950408889634 + 0.5)
    r = (y - k * 0.6931471803691238) - k * 1.9082149292705877e-10
    p = 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 0.5
    p = (p * r + 1.0) * r
    power = _two_to_the(k)  # type: ignore[call-arg]
    return (1.0 - power) - power * p


@njit(fastmath=_EXACT, error_model="numpy")
def _sine_cosine(x):
    """sin x and cos x of moderate x."""
    q = np.floor(x * 0.6366197723675814 + 0.5)
    r = (x - q * 1.5707963267341256) - q * 6.077100506506192e-11
    w = r * r
    s = -1 / 1307674368000
    s = s * w + 1 / 6227020800
    s = s * w - 1 / 39916800
    s = s * w + 1 / 362880
    s = s * w - 1 / 5040
    s = s * w + 1 / 120
    s = s * w - 1 / 6
    s = r + r * w * s
    c = 1 / 20922789888000
    c = c * w - 1 / 87178291200
    c = c * w + 1 / 479001600
    c = c * w - 1 / 3628800
    c = c * w + 1 / 40320
    c = c * w - 1 / 720
    c = c * w + 1 / 24
    c = c * w - 0.5
    c = 1.0 + w * c
    m = q - 4.0 * np.floor(q * 0.25)
    odd = m == 1.0 or m == 3.0
    sine, cosine = (c, s) if odd else (s, c)
    return (sine if m < 2.0 else -sine), (cosine if m == 0.0 or m == 3.0 else -cosine)


@njit(fastmath=_SUM, error_model="numpy")
def _total(row, at):
    total = 0.0
    for v in range(_L):
        total += np.float64(row[_U(at + v)])
    return total


@njit(fastmath=_EXACT, error_model="numpy")
def _pulse_coefficients(co, flip, same):
    """Rows A, A2, S, H of a nominal angle."""
    if same:
        sine, cosine = _sine_cosine(0.5 * flip * np.float64(co[_U(_B1)]))
        for v in range(_L):
            co[_U(_A + v)] = sine * sine
            co[_U(_A2 + v)] = 2.0 * sine * sine
            co[_U(_S + v)] = 2.0 * sine * cosine
            co[_U(_H + v)] = sine * cosine
        return
    for v in range(_L):
        sine, cosine = _sine_cosine(0.5 * flip * np.float64(co[_U(_B1 + v)]))
        co[_U(_A + v)] = sine * sine
        co[_U(_A2 + v)] = 2.0 * sine * sine
        co[_U(_S + v)] = 2.0 * sine * cosine
        co[_U(_H + v)] = sine * cosine


@njit(fastmath=_EXACT, error_model="numpy")
def _relaxation(co, interval):
    for v in range(_L):
        co[_U(_X + v)] = _lost(interval * np.float64(co[_U(_RATE1 + v)]))
        co[_U(_E2 + v)] = 1.0 - _lost(interval * np.float64(co[_U(_RATE2 + v)]))


@njit(fastmath=_EXACT, error_model="numpy")
def _echo(co, time):
    for v in range(_L):
        co[_U(_ET + v)] = 1.0 - _lost(time * np.float64(co[_U(_RATE2 + v)]))


@njit(fastmath=_EXACT, error_model="numpy")
def _preparation(co, kind, duration, wait):
    """Rows of a preparation: what is left of Z until the pulse, and what recovers meanwhile."""
    for v in range(_L):
        waited = _lost(wait * np.float64(co[_U(_RATE1 + v)]))
        left = 1.0 - _lost(duration * np.float64(co[_U(_RATE2 + v)]))
        if kind == 1:
            left = -np.float64(co[_U(_QUALITY + v)])
        co[_U(_WAITED + v)] = waited
        co[_U(_FACTOR + v)] = left * (1.0 - waited)


@njit(fastmath=_EXACT, error_model="numpy")
def _advance(ws, src, dst, rows, co, sign):
    """Pulse, relaxation without recovery, and one step of the gradient, from one slot to another.

    What was F_0 before the step is F_1 then; F_0 comes back as the conjugate (``sign``) of G_0.
    """
    for k in range(rows):
        i, j = src + (k + 1) * _K, dst + (k + 1) * _K
        for v in range(_L):
            f, g, z = ws[_U(i + v)], ws[_U(i + _L + v)], ws[_U(i + 2 * _L + v)]
            both = f + g
            change = co[_U(_S + v)] * z - co[_U(_A + v)] * both
            e2 = co[_U(_E2 + v)]
            along = z - (co[_U(_A2 + v)] * z + co[_U(_H + v)] * both)
            ws[_U(j + _K + v)] = e2 * (f + change)
            ws[_U(j - _K + _L + v)] = e2 * (g + change)
            ws[_U(j + 2 * _L + v)] = along - co[_U(_X + v)] * along
    _close(ws, dst, rows, sign)


@njit(fastmath=_EXACT, error_model="numpy")
def _close(ws, dst, rows, sign):
    """Empty what nothing was shifted into, and bring F_0 back."""
    j = dst + rows * _K
    for v in range(_L):
        ws[_U(j + _L + v)] = ws.dtype.type(0)
        ws[_U(j + _K + _L + v)] = ws.dtype.type(0)
        ws[_U(j + _K + 2 * _L + v)] = ws.dtype.type(0)
    j = dst + _K
    for v in range(_L):
        ws[_U(j + v)] = sign * ws[_U(j + _L + v)]


@njit(fastmath=_EXACT, error_model="numpy")
def _stay(ws, dst):
    """Undo the step of the gradient after `_advance` of one state."""
    for v in range(_L):
        ws[_U(dst + _K + v)] = ws[_U(dst + 2 * _K + v)]
        ws[_U(dst + _K + _L + v)] = ws[_U(dst + _L + v)]


@njit(fastmath=_EXACT, error_model="numpy")
def _begin(ws, slot, crossed):
    """Full magnetisation: longitudinal, or ``crossed`` the imaginary part of the transverse states."""
    for v in range(_L):
        if crossed:
            ws[slot + _K + v] = ws.dtype.type(1)
            ws[slot + _K + _L + v] = ws.dtype.type(-1)
        else:
            ws[slot + _K + 2 * _L + v] = ws.dtype.type(1)


@njit(fastmath=_EXACT, error_model="numpy")
def _recover(ws, dst, co):
    for v in range(_L):
        ws[_U(dst + _K + 2 * _L + v)] += co[_U(_X + v)]


@njit(fastmath=_EXACT, error_model="numpy")
def _advance_by_t1(ws, src, own, onto, rows, co, tangent, sign):
    """`_advance` of a tangent that moves T1 only: the interval before left Z z as it is times a row."""
    for k in range(rows):
        b, i, j = src + (k + 1) * _K, own + (k + 1) * _K, onto + (k + 1) * _K
        for v in range(_L):
            f, g, z = ws[_U(i + v)], ws[_U(i + _L + v)], ws[_U(i + 2 * _L + v)]
            z += tangent[_U(_LONG + v)] * ws[_U(b + 2 * _L + v)]
            both = f + g
            change = co[_U(_S + v)] * z - co[_U(_A + v)] * both
            e2 = co[_U(_E2 + v)]
            along = z - (co[_U(_A2 + v)] * z + co[_U(_H + v)] * both)
            ws[_U(j + _K + v)] = e2 * (f + change)
            ws[_U(j - _K + _L + v)] = e2 * (g + change)
            ws[_U(j + 2 * _L + v)] = along - co[_U(_X + v)] * along
    _close(ws, onto, rows, sign)


@njit(fastmath=_EXACT, error_model="numpy")
def _advance_by_t2(ws, src, own, onto, rows, co, tangent, sign):
    """`_advance` of a tangent that moves T2 only."""
    for k in range(rows):
        b, i, j = src + (k + 1) * _K, own + (k + 1) * _K, onto + (k + 1) * _K
        for v in range(_L):
            f, g, z = ws[_U(i + v)], ws[_U(i + _L + v)], ws[_U(i + 2 * _L + v)]
            f += tangent[_U(_TRANS + v)] * ws[_U(b + v)]
            g += tangent[_U(_TRANS + v)] * ws[_U(b + _L + v)]
            both = f + g
            change = co[_U(_S + v)] * z - co[_U(_A + v)] * both
            e2 = co[_U(_E2 + v)]
            along = z - (co[_U(_A2 + v)] * z + co[_U(_H + v)] * both)
            ws[_U(j + _K + v)] = e2 * (f + change)
            ws[_U(j - _K + _L + v)] = e2 * (g + change)
            ws[_U(j + 2 * _L + v)] = along - co[_U(_X + v)] * along
    _close(ws, onto, rows, sign)


@njit(fastmath=_EXACT, error_model="numpy")
def _advance_by_all(ws, src, own, onto, rows, co, tangent, sign):
    """`_advance` of any tangent: the interval before and the angle of this pulse move the states it finds."""
    for k in range(rows):
        b, i, j = src + (k + 1) * _K, own + (k + 1) * _K, onto + (k + 1) * _K
        for v in range(_L):
            bf, bg, bz = ws[_U(b + v)], ws[_U(b + _L + v)], ws[_U(b + 2 * _L + v)]
            f, g, z = ws[_U(i + v)], ws[_U(i + _L + v)], ws[_U(i + 2 * _L + v)]
            turned = tangent[_U(_BETA + v)] * bz
            f += tangent[_U(_TRANS + v)] * bf + turned
            g += tangent[_U(_TRANS + v)] * bg + turned
            z += tangent[_U(_LONG + v)] * bz - tangent[_U(_BETA2 + v)] * (bf + bg)
            both = f + g
            change = co[_U(_S + v)] * z - co[_U(_A + v)] * both
            e2 = co[_U(_E2 + v)]
            along = z - (co[_U(_A2 + v)] * z + co[_U(_H + v)] * both)
            ws[_U(j + _K + v)] = e2 * (f + change)
            ws[_U(j - _K + _L + v)] = e2 * (g + change)
            ws[_U(j + 2 * _L + v)] = along - co[_U(_X + v)] * along
    _close(ws, onto, rows, sign)


@njit(fastmath=_EXACT, error_model="numpy")
def _turn(ws, real, imaginary, rows, cosine, sine):
    """Multiply F by cosine + i sine and G by its conjugate."""
    for k in range(rows):
        r, m = real + (k + 1) * _K, imaginary + (k + 1) * _K
        for v in range(_L):
            a, b = ws[_U(r + v)], ws[_U(m + v)]
            c, d = ws[_U(r + _L + v)], ws[_U(m + _L + v)]
            ws[_U(r + v)] = cosine * a - sine * b
            ws[_U(m + v)] = cosine * b + sine * a
            ws[_U(r + _L + v)] = cosine * c + sine * d
            ws[_U(m + _L + v)] = cosine * d - sine * c


@njit(fastmath=_EXACT, error_model="numpy")
def _prepare(ws, slot, rows, co, recovering):
    """Preparation, its spoiler, and the wait after it."""
    for k in range(rows):
        i = slot + (k + 1) * _K
        for v in range(_L):
            ws[_U(i + v)] = ws.dtype.type(0)
            ws[_U(i + _L + v)] = ws.dtype.type(0)
            ws[_U(i + 2 * _L + v)] *= co[_U(_FACTOR + v)]
    if recovering:
        for v in range(_L):
            ws[_U(slot + _K + 2 * _L + v)] += co[_U(_WAITED + v)]


@njit(fastmath=_EXACT, error_model="numpy")
def _rows(i, pulses, states):
    """States that pulse i can find filled and that can still come back as an echo."""
    return min(states, i + 1, pulses - i)


@njit(fastmath=_EXACT, error_model="numpy")
def _tissue(co, t1, t2, b1, quality, start, end):
    """Rows of the tissue; lanes beyond the last voxel repeat it. Returns whether all have the same B1."""
    same = True
    for v in range(_L):
        n = min(start + v, end - 1)
        co[_RATE1 + v], co[_RATE2 + v] = 1 / t1[n], 1 / t2[n]
        co[_B1 + v], co[_QUALITY + v] = b1[n], quality[n]
        same = same and b1[n] == b1[start]
    return same


@njit(fastmath=_EXACT, error_model="numpy")
def _directions(along, by_tissue, start, end):
    """Rows of a tangent's tissue, and no interval before the first pulse."""
    along[:] = along.dtype.type(0)
    for v in range(_L):
        n = min(start + v, end - 1)
        along[_DT1 + v], along[_DT2 + v] = by_tissue[0, n], by_tissue[1, n]
        along[_DB1 + v], along[_DQ + v] = by_tissue[2, n], by_tissue[3, n]


@njit(fastmath=_EXACT, error_model="numpy")
def _directions_of_pulse(along, co, flip, late, by_flip, by_late, moves):
    """Rows of what this pulse and its echo time move."""
    for v in range(_L):
        rate = np.float64(co[_U(_RATE2 + v)])
        along[_U(_LATE + v)] = rate * (late * np.float64(along[_U(_DT2 + v)]) * rate - by_late)
    if moves == BY_ALL:
        for v in range(_L):
            beta = np.float64(co[_U(_B1 + v)]) * by_flip + flip * np.float64(along[_U(_DB1 + v)])
            along[_U(_BETA + v)] = beta
            along[_U(_BETA2 + v)] = 0.5 * beta


@njit(fastmath=_EXACT, error_model="numpy")
def _directions_of_interval(along, co, interval, by_interval):
    """Rows of what the interval that just ended moves."""
    for v in range(_L):
        rate1, rate2 = np.float64(co[_U(_RATE1 + v)]), np.float64(co[_U(_RATE2 + v)])
        along[_U(_LONG + v)] = rate1 * (interval * np.float64(along[_U(_DT1 + v)]) * rate1 - by_interval)
        along[_U(_TRANS + v)] = rate2 * (interval * np.float64(along[_U(_DT2 + v)]) * rate2 - by_interval)


@njit(fastmath=_EXACT, error_model="numpy")
def _directions_of_preparation(along, co, kind, duration, wait, by_duration, by_wait):
    for v in range(_L):
        rate1, rate2 = np.float64(co[_U(_RATE1 + v)]), np.float64(co[_U(_RATE2 + v)])
        along[_U(_WAITING + v)] = rate1 * (wait * np.float64(along[_U(_DT1 + v)]) * rate1 - by_wait)
        if kind == 1:
            leaving = np.float64(along[_U(_DQ + v)]) / np.float64(co[_U(_QUALITY + v)])
        else:
            leaving = rate2 * (duration * np.float64(along[_U(_DT2 + v)]) * rate2 - by_duration)
        along[_U(_LEAVING + v)] = leaving


@njit(fastmath=_EXACT, error_model="numpy")
def _prepare_tangent(ws, base, own, rows, co, along, recovering):
    """A tangent through the interval before, the preparation, and the wait after it; before `_prepare` of the base."""
    if recovering:
        for v in range(_L):
            ws[_U(own + _K + 2 * _L + v)] -= along[_U(_LONG + v)]
    for k in range(rows):
        b, i = base + (k + 1) * _K, own + (k + 1) * _K
        for v in range(_L):
            moved = along[_U(_LONG + v)] + along[_U(_LEAVING + v)] + along[_U(_WAITING + v)]
            ws[_U(i + v)] = ws.dtype.type(0)
            ws[_U(i + _L + v)] = ws.dtype.type(0)
            ws[_U(i + 2 * _L + v)] = co[_U(_FACTOR + v)] * (
                ws[_U(i + 2 * _L + v)] + moved * ws[_U(b + 2 * _L + v)]
            )
    if recovering:
        for v in range(_L):
            ws[_U(own + _K + 2 * _L + v)] -= along[_U(_WAITING + v)] * (
                ws.dtype.type(1) - co[_U(_WAITED + v)]
            )


@njit(fastmath=_EXACT, error_model="numpy")
def _tangent_echo(ws, base, own, co, along, echo, start, lanes, out):
    """The echo's tangent; the states that the pulse finds have not moved by the interval before and its angle yet."""
    b, i = base + _K, own + _K
    for v in range(lanes):
        bf, bg, bz = ws[b + v], ws[b + _L + v], ws[b + 2 * _L + v]
        turned = along[_BETA + v] * bz
        f = ws[i + v] + along[_TRANS + v] * bf + turned
        g = ws[i + _L + v] + along[_TRANS + v] * bg + turned
        z = ws[i + 2 * _L + v] + along[_LONG + v] * bz - along[_BETA2 + v] * (bf + bg)
        tangent = co[_ET + v] * (f + (co[_S + v] * z - co[_A + v] * (f + g)))
        out[start + v] = tangent + along[_LATE + v] * echo[start + v]


@njit(nogil=True, cache=True, fastmath=_EXACT, error_model="numpy")
def signals(
    train,
    kinds,
    turns,
    states,
    shifts,
    crossed,
    t1,
    t2,
    b1,
    quality,
    moves,
    by_train,
    by_tissue,
    begin,
    end,
    out,
):
    """Echoes of unit magnetisation and any number of their tangents.

    Args:
        train: (5, pulse) float64: flip angle, echo time, interval, duration of a preparation, wait after it.
        kinds: (pulse) preparation before each pulse: 0 none, 1 inversion, 2 T2 preparation.
        turns: (pulse, 2) cosine and sine by which F turns before each pulse; no pulses where all is real.
        states: kept.
        shifts: whether the gradient steps once a repetition.
        crossed: start with transverse magnetisation along the pulses' axis, instead of longitudinal. Its states are
            imaginary; they are carried as their imaginary parts, and what recovers, which is real, is none of them.
        t1, t2, b1, quality: (voxel); quality is that of the inversions.
        moves: (tangent) what each moves: BY_T1, BY_T2, BY_ALL.
        by_train: (tangent, 5, pulse) directions of ``train``.
        by_tissue: (tangent, 4, voxel) directions of T1, T2, B1, quality.
        begin, end: voxels of this call.
        out: (1 + tangents, parts, pulse, voxel); parts are one, or two where turns are given.
    """
    pulses, tangents = train.shape[1], len(moves)
    parts = 2 if len(turns) else 1
    size = (states + 3) * _K
    zero, one = t1.dtype.type(0), t1.dtype.type(1)
    ws = np.zeros((1 + tangents) * parts * 2 * size, t1.dtype)
    co = np.zeros(_ROWS, t1.dtype)
    along = np.zeros((max(tangents, 1), _TROWS), t1.dtype)
    for start in range(begin, end, _L):
        lanes = min(_L, end - start)
        same = _tissue(co, t1, t2, b1, quality, start, end)
        for t in range(tangents):
            _directions(along[t], by_tissue[t], start, end)
        ws[:] = zero
        _begin(ws, 0, crossed)
        flip, interval, late = np.nan, np.nan, np.nan
        for i in range(pulses):
            rows = _rows(i, pulses, states)
            here, there = (i % 2) * size, (1 - i % 2) * size
            if parts == 2:
                cosine, sine = t1.dtype.type(turns[i, 0]), t1.dtype.type(turns[i, 1])
                for s in range(1 + tangents):
                    pair = 4 * s * size + here
                    _turn(ws, pair, pair + 2 * size, rows, cosine, sine)
            if kinds[i]:
                _preparation(co, kinds[i], train[3, i], train[4, i])
                for t in range(tangents):
                    by = by_train[t]
                    _directions_of_preparation(
                        along[t], co, kinds[i], train[3, i], train[4, i], by[3, i], by[4, i]
                    )
                    for part in range(parts):
                        base, own = 2 * part * size + here, 2 * ((1 + t) * parts + part) * size + here
                        _prepare_tangent(ws, base, own, rows, co, along[t], part == 0 and not crossed)
                    for v in range(_L):
                        along[t, _LONG + v], along[t, _TRANS + v] = zero, zero
                for part in range(parts):
                    _prepare(ws, 2 * part * size + here, rows, co, part == 0 and not crossed)
            if flip != train[0, i]:
                flip = train[0, i]
                _pulse_coefficients(co, flip, same)
            if interval != train[2, i]:
                interval = train[2, i]
                _relaxation(co, interval)
            if late != train[1, i]:
                late = train[1, i]
                _echo(co, late)
            for t in range(tangents):
                _directions_of_pulse(along[t], co, flip, late, by_train[t, 0, i], by_train[t, 1, i], moves[t])
                own = 2 * (1 + t) * parts * size + here
                if not crossed:
                    for v in range(_L):
                        ws[own + _K + 2 * _L + v] -= along[t, _LONG + v]
            for part in range(parts):
                base, sign = 2 * part * size, -one if part or crossed else one
                first = base + here + _K
                for v in range(lanes):
                    f, g, z = ws[first + v], ws[first + _L + v], ws[first + 2 * _L + v]
                    out[0, part, i, start + v] = co[_ET + v] * (f + (co[_S + v] * z - co[_A + v] * (f + g)))
                for t in range(tangents):
                    own = 2 * ((1 + t) * parts + part) * size
                    echo, tangent = out[0, part, i], out[1 + t, part, i]
                    _tangent_echo(ws, base + here, own + here, co, along[t], echo, start, lanes, tangent)
                    if i == pulses - 1:
                        continue
                    if moves[t] == BY_T1:
                        _advance_by_t1(ws, base + here, own + here, own + there, rows, co, along[t], sign)
                    elif moves[t] == BY_T2:
                        _advance_by_t2(ws, base + here, own + here, own + there, rows, co, along[t], sign)
                    else:
                        _advance_by_all(ws, base + here, own + here, own + there, rows, co, along[t], sign)
                    if not shifts:
                        _stay(ws, own + there)
                if i < pulses - 1:
                    _advance(ws, base + here, base + there, rows, co, sign)
                    if not shifts:
                        _stay(ws, base + there)
                    if part == 0 and not crossed:
                        _recover(ws, base + there, co)
            for t in range(tangents):
                _directions_of_interval(along[t], co, interval, by_train[t, 2, i])


@njit(fastmath=_EXACT, error_model="numpy")
def _coefficients(co, train, kinds, i, same, known):
    """Rows of a repetition; ``known`` holds the flip angle, echo time and interval that they are for already."""
    if kinds[i]:
        _preparation(co, kinds[i], train[3, i], train[4, i])
    if known[0] != train[0, i]:
        known[0] = train[0, i]
        _pulse_coefficients(co, train[0, i], same)
    if known[1] != train[1, i]:
        known[1] = train[1, i]
        _echo(co, train[1, i])
    if known[2] != train[2, i]:
        known[2] = train[2, i]
        _relaxation(co, train[2, i])


@njit(fastmath=_EXACT, error_model="numpy")
def _step(ws, src, dst, size, parts, rows, later, co, shifts, crossed, turns, i, kinds, train):
    """From the moment of pulse i to that of pulse i + 1, with the rows of pulse i; a preparation takes its own."""
    for part in range(parts):
        sign = ws.dtype.type(-1) if part or crossed else ws.dtype.type(1)
        _advance(ws, src + part * size, dst + part * size, rows, co, sign)
        if not shifts:
            _stay(ws, dst + part * size)
    if not crossed:
        _recover(ws, dst, co)
    if parts == 2:
        _turn(ws, dst, dst + size, later, ws.dtype.type(turns[i + 1, 0]), ws.dtype.type(turns[i + 1, 1]))
    if kinds[i + 1]:
        _preparation(co, kinds[i + 1], train[3, i + 1], train[4, i + 1])
        for part in range(parts):
            _prepare(ws, dst + part * size, later, co, part == 0 and not crossed)


@njit(fastmath=_EXACT, error_model="numpy")
def _retreat(ws, src, dst, rows, co, sign):
    """Transpose of `_advance`: adjoint states of the next pulse to those of this one, whose states fill ``rows``."""
    for v in range(_L):
        ws[_U(src + _K + _L + v)] += sign * ws[_U(src + _K + v)]
    for k in range(rows):
        i, j = src + (k + 1) * _K, dst + (k + 1) * _K
        for v in range(_L):
            e2 = co[_U(_E2 + v)]
            f, g = e2 * ws[_U(i + _K + v)], e2 * ws[_U(i - _K + _L + v)]
            z = ws[_U(i + 2 * _L + v)]
            z -= co[_U(_X + v)] * z
            both = f + g
            change = co[_U(_H + v)] * z + co[_U(_A + v)] * both
            ws[_U(j + v)] = f - change
            ws[_U(j + _L + v)] = g - change
            ws[_U(j + 2 * _L + v)] = z - (co[_U(_A2 + v)] * z - co[_U(_S + v)] * both)


@njit(fastmath=_EXACT, error_model="numpy")
def _retreat_still(ws, src, dst, co):
    """Transpose of `_advance` and `_stay`, of one state."""
    i, j = src + _K, dst + _K
    for v in range(_L):
        e2 = co[_U(_E2 + v)]
        f, g = e2 * ws[_U(i + v)], e2 * ws[_U(i + _L + v)]
        z = ws[_U(i + 2 * _L + v)]
        z -= co[_U(_X + v)] * z
        both = f + g
        change = co[_U(_H + v)] * z + co[_U(_A + v)] * both
        ws[_U(j + v)] = f - change
        ws[_U(j + _L + v)] = g - change
        ws[_U(j + 2 * _L + v)] = z - (co[_U(_A2 + v)] * z - co[_U(_S + v)] * both)


@njit(fastmath=_EXACT, error_model="numpy")
def _empty(ws, slot, begin, end):
    """Adjoint states from ``begin`` up to ``end`` are zero, and so is the one before the first."""
    for v in range(3 * _L):
        ws[_U(slot + v)] = ws.dtype.type(0)
    for v in range((end - begin) * _K):
        ws[_U(slot + (begin + 1) * _K + v)] = ws.dtype.type(0)


@njit(fastmath=_EXACT, error_model="numpy")
def _add_echo(ws, dst, co):
    """An adjoint echo through the transposed pulse."""
    j = dst + _K
    for v in range(_L):
        bar = co[_U(_BAR + v)]
        part = co[_U(_A + v)] * bar
        ws[_U(j + v)] += bar - part
        ws[_U(j + _L + v)] -= part
        ws[_U(j + 2 * _L + v)] += co[_U(_S + v)] * bar


@njit(fastmath=_EXACT, error_model="numpy")
def _products(ws, state, adjoint, rows, co, real):
    """Add up adjoint times states: transverse, longitudinal, and turned by the pulse's generator."""
    for k in range(rows):
        i, j = state + (k + 1) * _K, adjoint + (k + 1) * _K
        for v in range(_L):
            f, g, z = ws[_U(i + v)], ws[_U(i + _L + v)], ws[_U(i + 2 * _L + v)]
            p, q, r = ws[_U(j + v)], ws[_U(j + _L + v)], ws[_U(j + 2 * _L + v)]
            co[_U(_FG + v)] += p * f + q * g
            co[_U(_Z + v)] += r * z
            co[_U(_J + v)] += (p + q) * z - r * (f + g) * ws.dtype.type(0.5)
    if real:
        for v in range(_L):
            co[_U(_Z + v)] -= ws[_U(adjoint + _K + 2 * _L + v)]


@njit(nogil=True, cache=True, fastmath=_EXACT, error_model="numpy")
def gradients(
    train,
    kinds,
    turns,
    states,
    shifts,
    crossed,
    t1,
    t2,
    b1,
    quality,
    bars,
    spacing,
    begin,
    end,
    by_train,
    by_tissue,
):
    """Gradient of a scalar whose derivatives by the echoes are known.

    States are kept at every ``spacing``-th pulse on the way through, and recomputed from there on the way back.

    Args:
        train, kinds, turns, states, shifts, crossed, t1, t2, b1, quality: as in `signals`.
        bars: (parts, pulse, voxel) derivatives by the echoes.
        spacing: pulses between checkpoints.
        begin, end: voxels of this call.
        by_train: (5, pulse) float64, to which the gradient by ``train`` is added.
        by_tissue: (4, voxel), for the gradient by T1, T2, B1, quality.
    """
    pulses = train.shape[1]
    parts = 2 if len(turns) else 1
    size = (states + 3) * _K
    pair = parts * size
    zero, one = t1.dtype.type(0), t1.dtype.type(1)
    marks = (pulses + spacing - 1) // spacing
    tape = (
        marks * pair
    )  # after the checkpoints, the states between two of them, and two slots of adjoint states
    adjoint = tape + (spacing + 1) * pair
    ws = np.zeros(adjoint + 2 * pair, t1.dtype)
    co = np.zeros(_ROWS, t1.dtype)
    sums = np.zeros((4, _L))
    known = np.zeros(3)
    for start in range(begin, end, _L):
        lanes = min(_L, end - start)
        same = _tissue(co, t1, t2, b1, quality, start, end)
        sums[:] = 0.0
        known[:] = np.nan
        ws[:pair] = zero
        _begin(ws, 0, crossed)
        if kinds[0]:
            _preparation(co, kinds[0], train[3, 0], train[4, 0])
            for part in range(parts):
                _prepare(ws, part * size, 1, co, part == 0 and not crossed)
        for leg in range(2 * marks):  # through the train from mark to mark, and back
            back = leg >= marks
            mark = 2 * marks - 1 - leg if back else leg
            first, last = mark * spacing, min((mark + 1) * spacing, pulses)
            if last == pulses and not back:
                continue
            ws[tape : tape + pair] = ws[mark * pair : (mark + 1) * pair]
            for i in range(first, last - 1 if back else last):
                src, dst = tape + (i - first) * pair, tape + (i - first + 1) * pair
                rows, later = _rows(i, pulses, states), _rows(i + 1, pulses, states)
                _coefficients(co, train, kinds, i, same, known)
                _step(ws, src, dst, size, parts, rows, later, co, shifts, crossed, turns, i, kinds, train)
            if not back:
                end_of_leg = tape + (last - first) * pair
                ws[(mark + 1) * pair : (mark + 2) * pair] = ws[end_of_leg : end_of_leg + pair]
                continue
            for i in range(last - 1, first - 1, -1):
                now, later = _rows(i, pulses, states), _rows(i + 1, pulses, states)
                state = tape + (i - first) * pair
                src, dst = adjoint + (1 - i % 2) * pair, adjoint + (i % 2) * pair
                _coefficients(co, train, kinds, i, same, known)
                for v in range(4 * _L):
                    co[_FG + v] = zero
                for part in range(parts):
                    into = dst + part * size
                    if i == pulses - 1:
                        _empty(ws, into, 0, now)
                    elif shifts:
                        _empty(ws, src + part * size, later, min(now + 1, states + 2))
                        _retreat(ws, src + part * size, into, now, co, -one if part or crossed else one)
                    else:
                        _retreat_still(ws, src + part * size, into, co)
                    found = state + part * size + _K
                    for v in range(_L):
                        bar = bars[part, i, min(start + v, end - 1)] if v < lanes else zero
                        f, g, z = ws[found + v], ws[found + _L + v], ws[found + 2 * _L + v]
                        co[_BAR + v] = co[_ET + v] * bar
                        co[_ECHO + v] += co[_BAR + v] * (f + (co[_S + v] * z - co[_A + v] * (f + g)))
                    _add_echo(ws, into, co)
                    _products(ws, state + part * size, into, now, co, part == 0 and not crossed)
                _collect(ws, dst, size, parts, now, co, sums, train, kinds, i, by_train)
                if parts == 2:
                    _turn(ws, dst, dst + size, now, t1.dtype.type(turns[i, 0]), t1.dtype.type(-turns[i, 1]))
        for v in range(lanes):
            for row in range(4):
                by_tissue[row, start + v] = sums[row, v]


@njit(fastmath=_EXACT, error_model="numpy")
def _collect(ws, adjoint, size, parts, rows, co, sums, train, kinds, i, by_train):
    """What the inner products at pulse i say about tissue and schedule, back to the interval before it."""
    for v in range(_L):
        rate2 = np.float64(co[_RATE2 + v])
        sums[1, v] += np.float64(co[_ECHO + v]) * train[1, i] * rate2 * rate2
        sums[2, v] += np.float64(co[_J + v]) * train[0, i]
        co[_ECHO + v] *= co[_RATE2 + v]
        co[_J + v] *= co[_B1 + v]
    by_train[1, i] -= _total(co, _ECHO)
    by_train[0, i] += _total(co, _J)
    if kinds[i]:
        for v in range(_L):
            rate1, rate2 = np.float64(co[_RATE1 + v]), np.float64(co[_RATE2 + v])
            waited = np.float64(co[_Z + v])
            sums[0, v] += waited * train[4, i] * rate1 * rate1
            # without the recovery: what went through the preparation
            through = waited + np.float64(ws[adjoint + _K + 2 * _L + v]) * (1.0 - np.float64(co[_WAITED + v]))
            if kinds[i] == 1:
                sums[3, v] += through / np.float64(co[_QUALITY + v])
            else:
                sums[1, v] += through * train[3, i] * rate2 * rate2
            co[_J + v] = waited * rate1
            co[_ECHO + v] = through * rate2 if kinds[i] == 2 else 0.0
            co[_FG + v] = 0.0
            co[_Z + v] = through - np.float64(ws[adjoint + _K + 2 * _L + v]) * np.float64(co[_FACTOR + v])
        by_train[4, i] -= _total(co, _J)
        by_train[3, i] -= _total(co, _ECHO)
        for part in range(parts):
            _prepare(ws, adjoint + part * size, rows, co, False)
    if i == 0:
        return
    interval = train[2, i - 1]
    for v in range(_L):
        rate1, rate2 = np.float64(co[_RATE1 + v]), np.float64(co[_RATE2 + v])
        transverse, longitudinal = np.float64(co[_FG + v]) * rate2, np.float64(co[_Z + v]) * rate1
        sums[0, v] += longitudinal * interval * rate1
        sums[1, v] += transverse * interval * rate2
        co[_FG + v] = transverse + longitudinal
    by_train[2, i - 1] -= _total(co, _FG)
