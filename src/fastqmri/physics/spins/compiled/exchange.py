"""Bloch-McConnell kernels: propagators of saturation trains, their tangents and adjoints, SIMD over voxels.

A block of `LANES` voxels lives in one flat workspace of rows; a row holds one number of every voxel. Everything is
written in operations on whole rows, which are LLVM vector instructions (`_add_product` and its kin), since a compiler
can't prove that rows of a workspace never overlap, and would leave loops over lanes scalar.

The magnetisation of a voxel is (x of every full pool, y of every full pool, z of every pool), N numbers; pools without
transverse magnetisation come last. A propagator is affine: N rows of N + 1 numbers. The exponential of the sparse
generator is its Taylor polynomial at a power of two below, squared up again; every voxel has its own power, so that a
voxel's result does not depend on its neighbours. The PyTorch form in `bloch_mcconnell` is the oracle.

Coefficients of a generator, in this order (S full pools, P pools): transverse decay (S), longitudinal decay (P),
detuning (S), exchange to water (P-1), exchange from water (P-1), source (P), ω1, saturation rate of the pools without
transverse magnetisation. Inputs of a contrast are the first six, and the rows named below.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
_ZERO, _ONE, _TWO = (
    np.int64(0),
    np.int64(1),
    np.int64(2),
)  # a literal would get every function it goes to compiled anew
_TERMS = 14  # at a norm of 1/2 the first term left out is 2e-17
_MATH = {"reassoc", "contract", "arcp", "nsz"}

# rows of the schedule, after the coefficients: offset and ω1 (rad/s), saturation rate over ω1², durations of a pulse
# and of the free segments: recovery, delay between pulses, spoiling, excitation to echo (s), cosine and sine of the
# readout's flip angle, of the angle of the effective field, and of the readout's phase
OFFSET, RF, LINE, PULSE, RECOVERY, DELAY, SPOIL, ECHO, COS, SIN, COS_LOCK, SIN_LOCK, COS_PHASE, SIN_PHASE = (
    range(14)
)
_SEGMENTS = 4

_VECTOR = ir.VectorType(ir.DoubleType(), LANES)


def _row(context, builder, array, index):
    """Pointer to a row of the workspace."""
    data = context.make_array(types.Array(types.float64, 1, "C"))(context, builder, array).data
    place = builder.mul(index, ir.Constant(index.type, LANES))
    return builder.bitcast(builder.gep(data, [place]), _VECTOR.as_pointer())


def _load(builder, pointer):
    return builder.load(pointer, align=8)


def _fused(builder, a, b, c):
    """a b + c."""
    kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{LANES}f64")
    return builder.call(function, [a, b, c])


def _on_rows(combine):
    """An operation ws[o] = combine(ws[o], ws[a], ws[b]) on rows."""

    @intrinsic
    def operation(context, ws, o, a, b):
        def generate(context, builder, signature, arguments):
            array, *indices = arguments
            target, left, right = (_row(context, builder, array, index) for index in indices)
            builder.store(combine(builder, target, left, right), target, align=8)
            return context.get_dummy_value()

        return types.void(ws, types.intp, types.intp, types.intp), generate

    return operation


def _negative(builder, value):
    return builder.fsub(ir.Constant(_VECTOR, [0.0] * LANES), value)


_product = _on_rows(lambda b, o, x, y: b.fmul(_load(b, x), _load(b, y)))
_add_product = _on_rows(lambda b, o, x, y: _fused(b, _load(b, x), _load(b, y), _load(b, o)))
_subtract_product = _on_rows(
    lambda b, o, x, y: _fused(b, _negative(b, _load(b, x)), _load(b, y), _load(b, o))
)
_negative_product = _on_rows(lambda b, o, x, y: _negative(b, b.fmul(_load(b, x), _load(b, y))))
_sum = _on_rows(lambda b, o, x, y: b.fadd(_load(b, x), _load(b, y)))
_same = _on_rows(lambda b, o, x, y: _load(b, x))
_difference = _on_rows(lambda b, o, x, y: b.fsub(_load(b, x), _load(b, y)))


@intrinsic
def _dot(context, ws, o, a, a_step, b, b_step, count, add):
    """ws[o] = (add ? ws[o] : 0) + sum over i of ws[a + i a_step] ws[b + i b_step]."""

    def generate(context, builder, signature, arguments):
        array, o, a, a_step, b, b_step, count, add = arguments
        zero = ir.Constant(_VECTOR, [0.0] * LANES)
        target = _row(context, builder, array, o)
        total = cgutils.alloca_once_value(builder, zero)
        with builder.if_then(cgutils.is_true(builder, add)):
            builder.store(_load(builder, target), total)
        with cgutils.for_range(builder, count) as loop:
            left = _row(context, builder, array, builder.add(a, builder.mul(loop.index, a_step)))
            right = _row(context, builder, array, builder.add(b, builder.mul(loop.index, b_step)))
            value = _fused(builder, _load(builder, left), _load(builder, right), builder.load(total))
            builder.store(value, total)
        builder.store(builder.load(total), target, align=8)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(ws, whole, whole, whole, whole, whole, whole, types.boolean), generate


@intrinsic
def _choose(context, ws, o, a, mask):
    """ws[o] = ws[a] in the lanes where ws[mask] > 0."""

    def generate(context, builder, signature, arguments):
        array, *indices = arguments
        target, source, mask = (_row(context, builder, array, index) for index in indices)
        positive = builder.fcmp_ordered(">", _load(builder, mask), ir.Constant(_VECTOR, [0.0] * LANES))
        builder.store(
            builder.select(positive, _load(builder, source), _load(builder, target)), target, align=8
        )
        return context.get_dummy_value()

    return types.void(ws, types.intp, types.intp, types.intp), generate


@intrinsic
def _add_scaled(context, ws, o, a, factor):
    """ws[a] *= factor, then ws[o] += ws[a]."""

    def generate(context, builder, signature, arguments):
        array, o, a, factor = arguments
        target, source = _row(context, builder, array, o), _row(context, builder, array, a)
        splat = ir.Constant(_VECTOR, ir.Undefined)
        for lane in range(LANES):
            splat = builder.insert_element(splat, factor, ir.Constant(ir.IntType(32), lane))
        value = builder.fmul(_load(builder, source), splat)
        builder.store(value, source, align=8)
        builder.store(builder.fadd(_load(builder, target), value), target, align=8)
        return context.get_dummy_value()

    return types.void(ws, types.intp, types.intp, types.float64), generate


@njit(fastmath=_MATH)
def _fill(ws, row, count, value):
    for i in range(row * LANES, (row + count) * LANES):
        ws[i] = value


@njit(fastmath=_MATH)
def _copy(ws, to, source, count):
    for i in range(count):
        _same(ws, to + i, source + i, source)


@njit
def _coefficients(full, pools):
    return 2 * full + 4 * pools


@njit(fastmath=_MATH)
def _generate(ws, b, t, u, low, full, pools):
    """u = B t, the linear part; of the longitudinal rows alone where ``low`` is not zero."""
    tz, de = b + full, b + full + pools
    kk = de + full
    fk = kk + pools - 1
    rf = fk + pools - 1 + pools
    z = 2 * full
    if low == 0:
        for i in range(full):
            x, y, up = i, full + i, z + i
            _negative_product(ws, u + x, b + i, t + x)
            _subtract_product(ws, u + x, de + i, t + y)
            _negative_product(ws, u + y, b + i, t + y)
            _add_product(ws, u + y, de + i, t + x)
            _add_product(ws, u + y, rf, t + up)
            _negative_product(ws, u + up, tz + i, t + up)
            _subtract_product(ws, u + up, rf, t + y)
        for j in range(1, full):
            _add_product(ws, u, kk + j - 1, t + j)
            _add_product(ws, u + j, fk + j - 1, t)
            _add_product(ws, u + full, kk + j - 1, t + full + j)
            _add_product(ws, u + full + j, fk + j - 1, t + full)
    else:
        for i in range(full):
            _negative_product(ws, u + z + i, tz + i, t + z + i)
    for i in range(full, pools):
        _negative_product(ws, u + z + i, tz + i, t + z + i)
        _subtract_product(ws, u + z + i, rf + 1, t + z + i)
    for j in range(1, pools):
        _add_product(ws, u + z, kk + j - 1, t + z + j)
        _add_product(ws, u + z + j, fk + j - 1, t + z)


@njit(fastmath=_MATH)
def _generate_adjoint(ws, b, t, g, above, below, low, full, pools):
    """Of u = B t: g += derivative by the coefficients, below = B^T above."""
    tz, de = full, full + pools
    kk = de + full
    fk = kk + pools - 1
    rf = fk + pools - 1 + pools
    z = 2 * full
    if low == 0:
        for i in range(full):
            x, y, up = i, full + i, z + i
            _subtract_product(ws, g + i, above + x, t + x)
            _subtract_product(ws, g + i, above + y, t + y)
            _add_product(ws, g + de + i, above + y, t + x)
            _subtract_product(ws, g + de + i, above + x, t + y)
            _add_product(ws, g + rf, above + y, t + up)
            _subtract_product(ws, g + rf, above + up, t + y)
            _negative_product(ws, below + x, b + i, above + x)
            _add_product(ws, below + x, b + de + i, above + y)
            _negative_product(ws, below + y, b + i, above + y)
            _subtract_product(ws, below + y, b + de + i, above + x)
            _subtract_product(ws, below + y, b + rf, above + up)
            _subtract_product(ws, g + tz + i, above + up, t + up)
            _negative_product(ws, below + up, b + tz + i, above + up)
            _add_product(ws, below + up, b + rf, above + y)
        for j in range(1, full):
            _add_product(ws, g + kk + j - 1, above, t + j)
            _add_product(ws, g + kk + j - 1, above + full, t + full + j)
            _add_product(ws, g + fk + j - 1, above + j, t)
            _add_product(ws, g + fk + j - 1, above + full + j, t + full)
            _add_product(ws, below + j, b + kk + j - 1, above)
            _add_product(ws, below, b + fk + j - 1, above + j)
            _add_product(ws, below + full + j, b + kk + j - 1, above + full)
            _add_product(ws, below + full, b + fk + j - 1, above + full + j)
    else:
        for i in range(full):
            _subtract_product(ws, g + tz + i, above + z + i, t + z + i)
            _negative_product(ws, below + z + i, b + tz + i, above + z + i)
    for i in range(full, pools):
        _subtract_product(ws, g + tz + i, above + z + i, t + z + i)
        _subtract_product(ws, g + rf + 1, above + z + i, t + z + i)
        _negative_product(ws, below + z + i, b + tz + i, above + z + i)
        _subtract_product(ws, below + z + i, b + rf + 1, above + z + i)
    for j in range(1, pools):
        _add_product(ws, g + kk + j - 1, above + z, t + z + j)
        _add_product(ws, g + fk + j - 1, above + z + j, t + z)
        _add_product(ws, below + z + j, b + kk + j - 1, above + z)
        _add_product(ws, below + z, b + fk + j - 1, above + z + j)


@njit(fastmath=_MATH, error_model="numpy")
def _scale(ws, c, duration, scaled, low, full, pools):
    """Scale a generator to a norm of 1/2: B = C h, h = duration / 2^squarings of each voxel.

    Rows after the coefficients of ``scaled``: h, 1/2^squarings, squarings. Returns the least and most squarings.
    """
    count = _coefficients(full, pools)
    h = scaled + count
    least, most = 1000, 0
    for v in range(LANES):
        decay, detuning, gain, loss = 0.0, 0.0, 0.0, 0.0
        for i in range(full if low == 0 else 0):
            decay = max(decay, abs(ws[(c + i) * LANES + v]))
            detuning = max(detuning, abs(ws[(c + full + pools + i) * LANES + v]))
        semi = ws[(c + count - 1) * LANES + v]
        for i in range(pools):
            value = ws[(c + full + i) * LANES + v]
            decay = max(decay, abs(value + semi if i >= full else value))
        for j in range(pools - 1):
            gain = max(gain, abs(ws[(c + 2 * full + pools + j) * LANES + v]))
            loss += abs(ws[(c + 2 * full + 2 * pools - 1 + j) * LANES + v])
        rf = abs(ws[(c + count - 2) * LANES + v]) if low == 0 else 0.0
        norm = (decay + detuning + max(gain, loss) + rf) * abs(ws[duration * LANES + v])
        squarings, power = 0, 1.0
        while norm * power > 0.5 and squarings < 60:
            squarings += 1
            power *= 0.5
        ws[h * LANES + v] = ws[duration * LANES + v] * power
        ws[(h + 1) * LANES + v] = power
        ws[(h + 2) * LANES + v] = squarings
        least, most = min(least, squarings), max(most, squarings)
    for k in range(count):
        _product(ws, scaled + k, c + k, h)
    return least, most


@njit(fastmath=_MATH)
def _mask(ws, scaled, stage, mask, count):
    """Lanes that are still to be squared at this stage."""
    row = scaled + count + 2
    for v in range(LANES):
        ws[mask * LANES + v] = 1.0 if ws[row * LANES + v] > stage else 0.0


@njit(fastmath=_MATH)
def _multiply(ws, a, b, o, low, n):
    """Affine o = a b: first b, then a."""
    for r in range(low, n):
        for c in range(low, n + 1):
            _dot(
                ws,
                o + r * (n + 1) + c,
                a + r * (n + 1) + low,
                1,
                b + low * (n + 1) + c,
                n + 1,
                n - low,
                False,
            )
        place = o + r * (n + 1) + n
        _sum(ws, place, place, a + r * (n + 1) + n)


@njit(fastmath=_MATH)
def _add_multiplied(ws, a, b, o, low, n):
    """o += a b of linear parts, b's last column included: one half of a product's tangent."""
    for r in range(low, n):
        for c in range(low, n + 1):
            _dot(
                ws, o + r * (n + 1) + c, a + r * (n + 1) + low, 1, b + low * (n + 1) + c, n + 1, n - low, True
            )


@njit(fastmath=_MATH)
def _multiply_adjoint(ws, a, b, g, ga, gb, low, n):
    """Of o = a b with cotangent g: ga += its part of a, gb = its part of b."""
    w = n + 1
    for r in range(low, n):
        for q in range(low, n):
            _dot(ws, ga + r * w + q, g + r * w + low, 1, b + q * w + low, 1, w - low, True)
        _sum(ws, ga + r * w + n, ga + r * w + n, g + r * w + n)
    for q in range(low, n):
        for c in range(low, w):
            _dot(ws, gb + q * w + c, a + low * w + q, w, g + low * w + c, w, n - low, False)


@njit(fastmath=_MATH)
def _clear(ws, matrix, low, n):
    for r in range(low, n):
        _fill(ws, matrix + r * (n + 1) + low, n + 1 - low, 0.0)


@njit(fastmath=_MATH)
def _copy_matrix(ws, to, source, low, n):
    for r in range(low, n):
        _copy(ws, to + r * (n + 1) + low, source + r * (n + 1) + low, n + 1 - low)


@njit(fastmath=_MATH)
def _choose_matrix(ws, to, source, mask, low, n):
    for r in range(low, n):
        for c in range(low, n + 1):
            _choose(ws, to + r * (n + 1) + c, source + r * (n + 1) + c, mask)


@njit(fastmath=_MATH)
def _exponential(ws, c, duration, e, keep, scratch, low, full, pools):
    """Affine exp(generator duration) at ``e``, or at the returned row where ``keep`` rows separate its square roots.

    Scratch: scaled coefficients with their three rows, a mask, two states, a matrix.
    """
    count = _coefficients(full, pools)
    n = 2 * full + pools
    scaled = scratch
    mask = scaled + count + 3
    t, u = mask + 1, mask + 1 + n
    f = u + n
    least, most = _scale(ws, c, duration, scaled, low, full, pools)
    source = scaled + count - 2 - pools
    for column in range(low, n + 1):
        _fill(ws, t, n, 0.0)
        if column < n:
            _fill(ws, t + column, _ONE, 1.0)
        for r in range(low, n):
            _copy(ws, e + r * (n + 1) + column, t + r, _ONE)
        for i in range(1, _TERMS + 1):
            if column == n and i == 1:
                _fill(ws, u, n, 0.0)
                _copy(ws, u + 2 * full, source, pools)
            else:
                _generate(ws, scaled, t, u, low, full, pools)
            for r in range(low, n):
                _add_scaled(ws, e + r * (n + 1) + column, u + r, 1.0 / i)
            t, u = u, t
    for stage in range(most):
        _multiply(ws, e, e, f, low, n)
        if stage < least:
            _copy_matrix(ws, e + keep, f, low, n)
        else:
            if keep:
                _copy_matrix(ws, e + keep, e, low, n)
            _mask(ws, scaled, stage, mask, count)
            _choose_matrix(ws, e + keep, f, mask, low, n)
        e += keep
    return e


@njit
def _exponential_rows(full, pools):
    n = 2 * full + pools
    return _coefficients(full, pools) + 4 + 2 * n + n * (n + 1)


@njit(fastmath=_MATH)
def _exponential_tangent(ws, c, duration, e, scratch, shift, low, full, pools):
    """As `_exponential`, and the tangent of each row at ``shift`` rows after it."""
    count = _coefficients(full, pools)
    n = 2 * full + pools
    scaled = scratch
    h = scaled + count
    mask = h + 3
    t, u = mask + 1, mask + 1 + n
    f = u + n
    extra = scratch + shift + count + 1  # rows of the tangent's scratch that hold none
    least, most = _scale(ws, c, duration, scaled, low, full, pools)
    _product(ws, h + shift, duration + shift, h + 1)
    for k in range(count):
        _product(ws, scaled + shift + k, c + shift + k, h)
        _add_product(ws, scaled + shift + k, c + k, h + shift)
    source = scaled + count - 2 - pools
    for column in range(low, n + 1):
        _fill(ws, t, n, 0.0)
        _fill(ws, t + shift, n, 0.0)
        if column < n:
            _fill(ws, t + column, _ONE, 1.0)
        for r in range(low, n):
            _copy(ws, e + r * (n + 1) + column, t + r, _ONE)
            _fill(ws, e + shift + r * (n + 1) + column, _ONE, 0.0)
        for i in range(1, _TERMS + 1):
            if column == n and i == 1:
                _fill(ws, u, n, 0.0)
                _fill(ws, u + shift, n, 0.0)
                _copy(ws, u + 2 * full, source, pools)
                _copy(ws, u + shift + 2 * full, source + shift, pools)
            else:
                _generate(ws, scaled + shift, t, f, low, full, pools)
                _generate(ws, scaled, t + shift, u + shift, low, full, pools)
                for r in range(low, n):
                    _sum(ws, u + shift + r, u + shift + r, f + r)
                _generate(ws, scaled, t, u, low, full, pools)
            for r in range(low, n):
                _add_scaled(ws, e + r * (n + 1) + column, u + r, 1.0 / i)
                _add_scaled(ws, e + shift + r * (n + 1) + column, u + shift + r, 1.0 / i)
            t, u = u, t
    for stage in range(most):
        _multiply_tangent(ws, e, e, f, shift, low, n)
        if stage < least:
            _copy_matrix(ws, e, f, low, n)
            _copy_matrix(ws, e + shift, f + shift, low, n)
        else:
            _mask(ws, scaled, stage, extra, count)
            _choose_matrix(ws, e, f, extra, low, n)
            _choose_matrix(ws, e + shift, f + shift, extra, low, n)


@njit(fastmath=_MATH)
def _multiply_tangent(ws, a, b, o, shift, low, n):
    _multiply(ws, a + shift, b, o + shift, low, n)
    _add_multiplied(ws, a, b + shift, o + shift, low, n)
    _multiply(ws, a, b, o, low, n)


@njit(fastmath=_MATH)
def _exponential_adjoint(ws, c, e, ge, gc, gd, scratch, low, full, pools):
    """Of the `_exponential` just made, its square roots down to ``e`` kept: gc, gd += gradients; ge is destroyed.

    Scratch: that of `_exponential`, then scaled gradients, the Taylor terms of a column, two states, two matrices.
    """
    count = _coefficients(full, pools)
    n = 2 * full + pools
    w = n + 1
    size = n * w
    scaled = scratch
    h = scaled + count
    mask = h + 3
    gb = scratch + _exponential_rows(full, pools)
    terms = gb + count
    above = terms + (_TERMS + 1) * n
    below = above + n
    ga, gx = below + n, below + n + size
    least, most = 1000, 0
    for v in range(LANES):
        squarings = int(ws[(h + 2) * LANES + v])
        least, most = min(least, squarings), max(most, squarings)
    source = count - 2 - pools
    for stage in range(most - 1, -1, -1):
        root = e + stage * size
        _clear(ws, ga, low, n)
        _multiply_adjoint(ws, root, root, ge, ga, gx, low, n)
        for r in range(low, n):
            for q in range(low, w):
                _sum(ws, ga + r * w + q, ga + r * w + q, gx + r * w + q)
        if stage < least:
            _copy_matrix(ws, ge, ga, low, n)
        else:
            _mask(ws, scaled, stage, mask, count)
            _choose_matrix(ws, ge, ga, mask, low, n)
    _fill(ws, gb, count, 0.0)
    for column in range(low, w):
        _terms(ws, scaled, terms, column, low, full, pools)
        for r in range(low, n):
            _copy(ws, above + r, ge + r * w + column, _ONE)
        for i in range(_TERMS, 0, -1):
            for k in range((above + low) * LANES, (above + n) * LANES):
                ws[k] *= 1.0 / i
            if column == n and i == 1:
                for p in range(pools):
                    _sum(ws, gb + source + p, gb + source + p, above + 2 * full + p)
            else:
                _generate_adjoint(ws, scaled, terms + (i - 1) * n, gb, above, below, low, full, pools)
                for r in range(low, n):
                    _sum(ws, above + r, below + r, ge + r * w + column)
    _fill(ws, below, _ONE, 0.0)
    for k in range(count):
        _add_product(ws, gc + k, gb + k, h)
        _add_product(ws, below, gb + k, c + k)
    _add_product(ws, gd, below, h + 1)


@njit(fastmath=_MATH)
def _terms(ws, scaled, terms, column, low, full, pools):
    """Taylor terms of a column of the exponential, each a state."""
    count = _coefficients(full, pools)
    n = 2 * full + pools
    _fill(ws, terms, n, 0.0)
    if column < n:
        _fill(ws, terms + column, _ONE, 1.0)
    for i in range(1, _TERMS + 1):
        t = terms + i * n
        if column == n and i == 1:
            _fill(ws, t, n, 0.0)
            _copy(ws, t + 2 * full, scaled + count - 2 - pools, pools)
        else:
            _generate(ws, scaled, t - n, t, low, full, pools)
        for k in range((t + low) * LANES, (t + n) * LANES):
            ws[k] *= 1.0 / i


@njit
def _exponential_adjoint_rows(full, pools):
    n = 2 * full + pools
    own = _coefficients(full, pools) + (_TERMS + 3) * n + 2 * n * (n + 1)
    return _exponential_rows(full, pools) + own


@njit(fastmath=_MATH)
def _advance(ws, e, x, y, low, n):
    """x becomes e x; y is scratch."""
    for r in range(low, n):
        _dot(ws, y + r, e + r * (n + 1) + low, 1, x + low, 1, n - low, False)
        _sum(ws, y + r, y + r, e + r * (n + 1) + n)
    for r in range(low, n):
        _copy(ws, x + r, y + r, _ONE)


@njit(fastmath=_MATH)
def _advance_tangent(ws, e, x, y, shift, low, n):
    for r in range(low, n):
        _dot(ws, y + r, e + shift + r * (n + 1) + low, 1, x + low, 1, n - low, False)
        _sum(ws, y + r, y + r, e + shift + r * (n + 1) + n)
        _dot(ws, y + r, e + r * (n + 1) + low, 1, x + shift + low, 1, n - low, True)
    for r in range(low, n):
        _copy(ws, x + shift + r, y + r, _ONE)
    _advance(ws, e, x, y, low, n)


@njit(fastmath=_MATH)
def _advance_adjoint(ws, e, x, g, ge, y, low, n):
    """Of e x with cotangent g: ge += its part of e, g becomes its part of x (x as it was before)."""
    for r in range(low, n):
        for q in range(low, n):
            _add_product(ws, ge + r * (n + 1) + q, g + r, x + q)
        _sum(ws, ge + r * (n + 1) + n, ge + r * (n + 1) + n, g + r)
    for q in range(low, n):
        _dot(ws, y + q, e + low * (n + 1) + q, n + 1, g + low, 1, n - low, False)
    for q in range(low, n):
        _copy(ws, g + q, y + q, _ONE)


@njit(fastmath=_MATH)
def _turn(ws, x, first, second, cosine, sine, sign, y, full):
    """Rotate two components of every full pool by their first rows: a' = c a + s b, b' = c b - s a, s times sign."""
    for v in range(LANES):
        ws[y * LANES + v] = sign * ws[sine * LANES + v]
    for i in range(full):
        a, z = x + first + i, x + second + i
        _product(ws, y + 1, cosine, a)
        _add_product(ws, y + 1, y, z)
        _product(ws, y + 2, cosine, z)
        _subtract_product(ws, y + 2, y, a)
        _copy(ws, a, y + 1, _ONE)
        _copy(ws, z, y + 2, _ONE)


@njit(fastmath=_MATH)
def _turn_tangent(ws, x, first, second, cosine, sine, sign, y, shift, full):
    for v in range(LANES):
        ws[y * LANES + v] = sign * ws[(sine + shift) * LANES + v]
        ws[(y + 3) * LANES + v] = sign * ws[sine * LANES + v]
    for i in range(full):
        a, z = x + first + i, x + second + i
        _product(ws, y + 1, cosine + shift, a)
        _add_product(ws, y + 1, y, z)
        _add_product(ws, y + 1, cosine, a + shift)
        _add_product(ws, y + 1, y + 3, z + shift)
        _product(ws, y + 2, cosine + shift, z)
        _subtract_product(ws, y + 2, y, a)
        _add_product(ws, y + 2, cosine, z + shift)
        _subtract_product(ws, y + 2, y + 3, a + shift)
        _copy(ws, a + shift, y + 1, _ONE)
        _copy(ws, z + shift, y + 2, _ONE)
    _turn(ws, x, first, second, cosine, sine, sign, y, full)


@njit(fastmath=_MATH)
def _turn_adjoint(ws, x, g, first, second, cosine, sine, sign, gc, gs, y, full):
    """Of `_turn` on x (as it was before) with cotangent g: gc, gs += derivatives, g becomes that by x."""
    for v in range(LANES):
        ws[y * LANES + v] = sign * ws[sine * LANES + v]
    _fill(ws, y + 3, _ONE, 0.0)
    for i in range(full):
        a, z = first + i, second + i
        _add_product(ws, gc, g + a, x + a)
        _add_product(ws, gc, g + z, x + z)
        _add_product(ws, y + 3, g + a, x + z)
        _subtract_product(ws, y + 3, g + z, x + a)
        _product(ws, y + 1, cosine, g + a)
        _subtract_product(ws, y + 1, y, g + z)
        _product(ws, y + 2, cosine, g + z)
        _add_product(ws, y + 2, y, g + a)
        _copy(ws, g + a, y + 1, _ONE)
        _copy(ws, g + z, y + 2, _ONE)
    for v in range(LANES):
        ws[gs * LANES + v] += sign * ws[(y + 3) * LANES + v]


@njit
def _gather(source, c, ws, row, start, lanes):
    """Rows of a contrast; lanes beyond the last voxel repeat it."""
    for k in range(source.shape[0]):
        for v in range(LANES):
            ws[(row + k) * LANES + v] = source[k, c, start + min(v, lanes - 1)]


@njit(fastmath=_MATH)
def _prepare(ws, inputs, coefficients, full, pools):
    """Coefficients of free evolution: all but detuning are the inputs', and there is no irradiation."""
    count = _coefficients(full, pools)
    _copy(ws, coefficients, inputs, count - 2)
    _fill(ws, coefficients + count - 2, 2, 0.0)


@njit(fastmath=_MATH)
def _irradiate(ws, inputs, coefficients, step, full, pools):
    """Turn coefficients of free evolution into those of a step of a pulse."""
    count = _coefficients(full, pools)
    schedule = inputs + count - 2
    for i in range(full):
        place = full + pools + i
        _difference(ws, coefficients + place, inputs + place, schedule + OFFSET)
    for v in range(LANES):
        rf = ws[(schedule + RF) * LANES + v] * step
        ws[(coefficients + count - 2) * LANES + v] = rf
        ws[(coefficients + count - 1) * LANES + v] = rf * rf * ws[(schedule + LINE) * LANES + v]


@njit(fastmath=_MATH)
def _propagators(
    ws, table, c, shape, duration, free, pulse, keep, e, f, scratch, full, pools, pulses, readouts, flags
):
    """Propagators of the free segments of a contrast at ``free``, and of its pulse at ``pulse``.

    Those of the first steps of the pulse stay where ``keep`` rows separate them; the last is the pulse's. ``e`` and
    ``f`` are scratch matrices.
    """
    n, count, steps = 2 * full + pools, _coefficients(full, pools), len(shape)
    size = n * (n + 1)
    schedule = table + count - 2
    for v in range(LANES):
        ws[duration * LANES + v] = ws[(schedule + PULSE) * LANES + v] / steps
    _prepare(ws, table, c, full, pools)
    for part in range(_SEGMENTS + steps):
        step = part - _SEGMENTS
        if step < 0:
            if not _needed(part, pulses, readouts):
                continue
            time, low, to = schedule + RECOVERY + part, _lowest(part, flags, full), free + part * size
        else:
            _irradiate(ws, table, c, shape[step], full, pools)
            time, low, to = duration, 0, e if step else pulse
        _exponential(ws, c, time, to, _ZERO, scratch, low, full, pools)
        if step > 0:
            _multiply(ws, e, pulse, f, _ZERO, n)
            pulse += keep
            _copy_matrix(ws, pulse, f, _ZERO, n)


@njit
def _needed(segment, pulses, readouts):
    """Whether a contrast has this free segment at all."""
    return segment in (0, 2) or (segment == 1 and pulses > 1) or (segment == 3 and readouts > 0)


@njit
def _lowest(segment, flags, full):
    """First row of the magnetisation that takes part in a free segment: no transverse one after spoiling."""
    alone = (segment == 2 and flags[3]) or (segment == 0 and flags[2]) or (segment == 1 and flags[1])
    return 2 * full if alone else 0


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def signal(inputs, start, shape, full, pulses, readouts, flags, begin, end, out):
    """Signal of every contrast and voxel.

    Args:
        inputs: (rows, contrast, voxel), see the module.
        start: (pool, 1, voxel) longitudinal magnetisation before the first contrast.
        shape: (step,) relative amplitudes of a pulse.
        full: pools with transverse magnetisation.
        pulses: in each contrast.
        readouts: excitations in each contrast; 0 if the longitudinal magnetisation is the signal.
        flags: whether the magnetisation is locked, spoiled after each pulse, each readout, and the saturation.
        begin, end: voxels of this call; calls on separate ranges may run in parallel threads.
        out: (2, contrast, voxel): x and y of water at the echo, or its z, and 0.
    """
    rows, contrasts = inputs.shape[0], inputs.shape[1]
    pools = start.shape[0]
    count, n = _coefficients(full, pools), 2 * full + pools
    size = n * (n + 1)
    table, schedule = _ZERO, count - 2
    c = rows
    x, y = c + count, c + count + n
    duration = y + n + 4
    free = duration + 1
    gap, rest, echo, pulse = free + size, free + 2 * size, free + 3 * size, free + 4 * size
    e, f = pulse + size, pulse + 2 * size
    scratch = f + size
    ws = np.zeros((scratch + _exponential_rows(full, pools)) * LANES)
    z = 2 * full
    locked, spoiled_pulses, spoiled, crushed = flags
    cosine, sine = schedule + COS_LOCK, schedule + SIN_LOCK
    for first in range(begin, end, LANES):
        lanes = min(LANES, end - first)
        _fill(ws, x, n, 0.0)
        _gather(start, _ZERO, ws, x + z, first, lanes)
        for contrast in range(contrasts):
            _gather(inputs, contrast, ws, table, first, lanes)
            _propagators(
                ws,
                table,
                c,
                shape,
                duration,
                free,
                pulse,
                _ZERO,
                e,
                f,
                scratch,
                full,
                pools,
                pulses,
                readouts,
                flags,
            )
            _advance(ws, free, x, y, _lowest(_ZERO, flags, full), n)
            for index in range(pulses):
                if index:
                    _advance(ws, gap, x, y, _lowest(_ONE, flags, full), n)
                if locked:
                    _turn(ws, x, _ZERO, z, cosine, sine, 1.0, y, full)
                _advance(ws, pulse, x, y, _ZERO, n)
                if locked:
                    _turn(ws, x, _ZERO, z, cosine, sine, -1.0, y, full)
                if spoiled_pulses:
                    _fill(ws, x, z, 0.0)
            if crushed:
                _fill(ws, x, z, 0.0)
            else:
                _turn(ws, x, _ZERO, full, schedule + COS_PHASE, schedule + SIN_PHASE, 1.0, y, full)
            _advance(ws, rest, x, y, _lowest(_TWO, flags, full), n)
            if readouts == 0:
                for v in range(lanes):
                    out[0, contrast, first + v] = ws[(x + z) * LANES + v]
                    out[1, contrast, first + v] = 0.0
            for readout in range(readouts):
                _turn(ws, x, full, z, schedule + COS, schedule + SIN, 1.0, y, full)
                _advance(ws, echo, x, y, _ZERO, n)
                if readout == 0:
                    for v in range(lanes):
                        out[0, contrast, first + v] = ws[x * LANES + v]
                        out[1, contrast, first + v] = ws[(x + full) * LANES + v]
                if spoiled:
                    _fill(ws, x, z, 0.0)


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def tangent(inputs, start, shape, d_inputs, d_start, d_shape, full, pulses, readouts, flags, begin, end, out):
    """Derivative of `signal` along a direction; arguments as there, ``d_`` marks the direction."""
    rows, contrasts = inputs.shape[0], inputs.shape[1]
    pools, steps = start.shape[0], len(shape)
    count, n = _coefficients(full, pools), 2 * full + pools
    size = n * (n + 1)
    table, schedule = _ZERO, count - 2
    c = rows
    x, y = c + count, c + count + n
    duration = y + n + 4
    free = duration + 1
    gap, rest, echo, pulse = free + size, free + 2 * size, free + 3 * size, free + 4 * size
    e, f = pulse + size, pulse + 2 * size
    scratch = f + size
    shift = scratch + _exponential_rows(full, pools)
    ws = np.zeros(2 * shift * LANES)
    z = 2 * full
    locked, spoiled_pulses, spoiled, crushed = flags
    cosine, sine = schedule + COS_LOCK, schedule + SIN_LOCK
    for first in range(begin, end, LANES):
        lanes = min(LANES, end - first)
        for part in (_ZERO, shift):
            _fill(ws, x + part, n, 0.0)
        _gather(start, _ZERO, ws, x + z, first, lanes)
        _gather(d_start, _ZERO, ws, x + z + shift, first, lanes)
        for contrast in range(contrasts):
            _gather(inputs, contrast, ws, table, first, lanes)
            _gather(d_inputs, contrast, ws, table + shift, first, lanes)
            for part in (_ZERO, shift):
                _prepare(ws, table + part, c + part, full, pools)
                for v in range(LANES):
                    ws[(duration + part) * LANES + v] = ws[(schedule + part + PULSE) * LANES + v] / steps
            for part in range(_SEGMENTS + steps):
                step = part - _SEGMENTS
                if step < 0:
                    if not _needed(part, pulses, readouts):
                        continue
                    time, low, to = schedule + RECOVERY + part, _lowest(part, flags, full), free + part * size
                else:
                    _irradiate(ws, table, c, shape[step], full, pools)
                    _irradiate_tangent(ws, table, c, shape[step], d_shape[step], shift, full, pools)
                    time, low, to = duration, 0, e if step else pulse
                _exponential_tangent(ws, c, time, to, scratch, shift, low, full, pools)
                if step > 0:
                    _multiply_tangent(ws, e, pulse, f, shift, _ZERO, n)
                    _copy_matrix(ws, pulse, f, _ZERO, n)
                    _copy_matrix(ws, pulse + shift, f + shift, _ZERO, n)
            _advance_tangent(ws, free, x, y, shift, _lowest(_ZERO, flags, full), n)
            for index in range(pulses):
                if index:
                    _advance_tangent(ws, gap, x, y, shift, _lowest(_ONE, flags, full), n)
                if locked:
                    _turn_tangent(ws, x, _ZERO, z, cosine, sine, 1.0, y, shift, full)
                _advance_tangent(ws, pulse, x, y, shift, _ZERO, n)
                if locked:
                    _turn_tangent(ws, x, _ZERO, z, cosine, sine, -1.0, y, shift, full)
                if spoiled_pulses or (crushed and index + 1 == pulses):
                    _fill(ws, x, z, 0.0)
                    _fill(ws, x + shift, z, 0.0)
            if not crushed:
                _turn_tangent(
                    ws, x, _ZERO, full, schedule + COS_PHASE, schedule + SIN_PHASE, 1.0, y, shift, full
                )
            _advance_tangent(ws, rest, x, y, shift, _lowest(_TWO, flags, full), n)
            if readouts == 0:
                for v in range(lanes):
                    out[0, contrast, first + v] = ws[(x + shift + z) * LANES + v]
                    out[1, contrast, first + v] = 0.0
            for readout in range(readouts):
                _turn_tangent(ws, x, full, z, schedule + COS, schedule + SIN, 1.0, y, shift, full)
                _advance_tangent(ws, echo, x, y, shift, _ZERO, n)
                if readout == 0:
                    for v in range(lanes):
                        out[0, contrast, first + v] = ws[(x + shift) * LANES + v]
                        out[1, contrast, first + v] = ws[(x + shift + full) * LANES + v]
                if spoiled:
                    _fill(ws, x, z, 0.0)
                    _fill(ws, x + shift, z, 0.0)


@njit(fastmath=_MATH)
def _irradiate_tangent(ws, inputs, coefficients, step, d_step, shift, full, pools):
    """The tangent of `_irradiate`."""
    count = _coefficients(full, pools)
    schedule = inputs + count - 2
    for i in range(full):
        place = shift + full + pools + i
        _difference(ws, coefficients + place, inputs + place, schedule + shift + OFFSET)
    for v in range(LANES):
        w, line = ws[(schedule + RF) * LANES + v], ws[(schedule + LINE) * LANES + v]
        dw, d_line = ws[(schedule + shift + RF) * LANES + v], ws[(schedule + shift + LINE) * LANES + v]
        rf, d_rf = w * step, dw * step + w * d_step
        ws[(coefficients + shift + count - 2) * LANES + v] = d_rf
        ws[(coefficients + shift + count - 1) * LANES + v] = 2 * rf * d_rf * line + rf * rf * d_line


@njit(fastmath=_MATH)
def _irradiate_adjoint(ws, inputs, gradient, g_inputs, step, lanes, full, pools):
    """Hand the gradient by a step's coefficients to offset, ω1 and line; returns that by the step's amplitude."""
    count = _coefficients(full, pools)
    schedule, g_schedule = inputs + count - 2, g_inputs + count - 2
    total = 0.0
    for v in range(LANES):
        w, line = ws[(schedule + RF) * LANES + v], ws[(schedule + LINE) * LANES + v]
        rf, by_rate = w * step, ws[(gradient + count - 1) * LANES + v]
        by_rf = ws[(gradient + count - 2) * LANES + v] + 2 * rf * line * by_rate
        ws[(g_schedule + RF) * LANES + v] += by_rf * step
        ws[(g_schedule + LINE) * LANES + v] += by_rate * rf * rf
        if v < lanes:
            total += by_rf * w
    for i in range(full):
        _difference(ws, g_schedule + OFFSET, g_schedule + OFFSET, gradient + full + pools + i)
    return total


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def adjoint(
    inputs,
    start,
    shape,
    cotangent,
    full,
    pulses,
    readouts,
    flags,
    stages,
    begin,
    end,
    g_inputs,
    g_start,
    g_shape,
):
    """Gradients of sum(cotangent * signal); arguments as those of `signal`.

    Args:
        cotangent: (2, contrast, voxel).
        stages: squarings at most, of any segment.
        g_inputs, g_start: like ``inputs``, ``start``.
        g_shape: (block of lanes, step).
    """
    rows, contrasts = inputs.shape[0], inputs.shape[1]
    pools, steps = start.shape[0], len(shape)
    count, n = _coefficients(full, pools), 2 * full + pools
    size = n * (n + 1)
    table, g_table = _ZERO, rows
    schedule, g_schedule = count - 2, rows + count - 2
    c, gc = 2 * rows, 2 * rows + count
    x, y = gc + count, gc + count + n
    g = y + n + 4
    duration, g_duration = g + n, g + n + 1
    first_state = g_duration + 1  # of every contrast
    tape = first_state + contrasts * n  # states before each operation of a contrast
    free = tape + (3 + 4 * pulses + 2 * readouts) * n
    gap, rest, echo = free + size, free + 2 * size, free + 3 * size
    g_free = free + _SEGMENTS * size
    g_gap, g_rest, g_echo, g_pulse = g_free + size, g_free + 2 * size, g_free + 3 * size, g_free + 4 * size
    e, f = g_pulse + size, g_pulse + 2 * size
    prefix = f + size  # propagators of the first steps of a pulse
    pulse = prefix + (steps - 1) * size
    roots = pulse + size
    scratch = roots + (stages + 1) * size
    ws = np.zeros((scratch + _exponential_adjoint_rows(full, pools)) * LANES)
    z = 2 * full
    locked, spoiled_pulses, spoiled, crushed = flags
    cosine, sine = schedule + COS_LOCK, schedule + SIN_LOCK
    g_cosine, g_sine = g_schedule + COS_LOCK, g_schedule + SIN_LOCK
    for first in range(begin, end, LANES):
        lanes = min(LANES, end - first)
        _fill(ws, x, n, 0.0)
        _gather(start, _ZERO, ws, x + z, first, lanes)
        _fill(ws, g, n, 0.0)
        for way in range(2 * contrasts - 1):  # forwards to the last contrast, and back
            contrast = way if way < contrasts else 2 * contrasts - 2 - way
            if way >= contrasts:
                _copy(ws, x, first_state + contrast * n, n)
            _copy(ws, first_state + contrast * n, x, n)
            _gather(inputs, contrast, ws, table, first, lanes)
            _propagators(
                ws,
                table,
                c,
                shape,
                duration,
                free,
                prefix,
                size,
                e,
                f,
                scratch,
                full,
                pools,
                pulses,
                readouts,
                flags,
            )
            at = tape
            _copy(ws, at, x, n)
            _advance(ws, free, x, y, _lowest(_ZERO, flags, full), n)
            for index in range(pulses):
                _copy(ws, at + n, x, n)
                if index:
                    _advance(ws, gap, x, y, _lowest(_ONE, flags, full), n)
                _copy(ws, at + 2 * n, x, n)
                if locked:
                    _turn(ws, x, _ZERO, z, cosine, sine, 1.0, y, full)
                _copy(ws, at + 3 * n, x, n)
                _advance(ws, pulse, x, y, _ZERO, n)
                _copy(ws, at + 4 * n, x, n)
                if locked:
                    _turn(ws, x, _ZERO, z, cosine, sine, -1.0, y, full)
                if spoiled_pulses or (crushed and index + 1 == pulses):
                    _fill(ws, x, z, 0.0)
                at += 4 * n
            at += n
            _copy(ws, at, x, n)
            if not crushed:
                _turn(ws, x, _ZERO, full, schedule + COS_PHASE, schedule + SIN_PHASE, 1.0, y, full)
            at += n
            _copy(ws, at, x, n)
            _advance(ws, rest, x, y, _lowest(_TWO, flags, full), n)
            for _ in range(readouts):
                _copy(ws, at + n, x, n)
                _turn(ws, x, full, z, schedule + COS, schedule + SIN, 1.0, y, full)
                _copy(ws, at + 2 * n, x, n)
                _advance(ws, echo, x, y, _ZERO, n)
                if spoiled:
                    _fill(ws, x, z, 0.0)
                at += 2 * n
            if way + 1 < contrasts:
                continue
            # back through the contrast
            _fill(ws, g_table, rows, 0.0)
            for matrix in range(g_free, g_pulse + size, size):
                _clear(ws, matrix, _ZERO, n)
            for readout in range(readouts - 1, -1, -1):
                if spoiled:
                    _fill(ws, g, z, 0.0)
                if readout == 0:
                    for v in range(lanes):
                        ws[g * LANES + v] += cotangent[0, contrast, first + v]
                        ws[(g + full) * LANES + v] += cotangent[1, contrast, first + v]
                _advance_adjoint(ws, echo, at, g, g_echo, y, _ZERO, n)
                at -= n
                _turn_adjoint(
                    ws,
                    at,
                    g,
                    full,
                    z,
                    schedule + COS,
                    schedule + SIN,
                    1.0,
                    g_schedule + COS,
                    g_schedule + SIN,
                    y,
                    full,
                )
                at -= n
            if readouts == 0:
                for v in range(lanes):
                    ws[(g + z) * LANES + v] += cotangent[0, contrast, first + v]
            _advance_adjoint(ws, rest, at, g, g_rest, y, _lowest(_TWO, flags, full), n)
            at -= n
            if not crushed:
                cos_row, sin_row = schedule + COS_PHASE, schedule + SIN_PHASE
                g_cos, g_sin = g_schedule + COS_PHASE, g_schedule + SIN_PHASE
                _turn_adjoint(ws, at, g, _ZERO, full, cos_row, sin_row, 1.0, g_cos, g_sin, y, full)
            at -= n
            for index in range(pulses - 1, -1, -1):
                if spoiled_pulses or (crushed and index + 1 == pulses):
                    _fill(ws, g, z, 0.0)
                if locked:
                    _turn_adjoint(ws, at, g, _ZERO, z, cosine, sine, -1.0, g_cosine, g_sine, y, full)
                _advance_adjoint(ws, pulse, at - n, g, g_pulse, y, _ZERO, n)
                if locked:
                    _turn_adjoint(ws, at - 2 * n, g, _ZERO, z, cosine, sine, 1.0, g_cosine, g_sine, y, full)
                if index:
                    _advance_adjoint(ws, gap, at - 3 * n, g, g_gap, y, _lowest(_ONE, flags, full), n)
                at -= 4 * n
            _advance_adjoint(ws, free, at, g, g_free, y, _lowest(_ZERO, flags, full), n)
            # through the exponentials: the steps of the pulse backwards, then the free segments
            _fill(ws, g_duration, _ONE, 0.0)
            for part in range(steps + _SEGMENTS):
                segment, step = part - steps, steps - 1 - part
                to = g_pulse
                if segment < 0:
                    _irradiate(ws, table, c, shape[step], full, pools)
                    time, g_time, low = duration, g_duration, 0
                else:
                    if not _needed(segment, pulses, readouts):
                        continue
                    if segment == 0:
                        _prepare(ws, table, c, full, pools)
                    time, g_time = schedule + RECOVERY + segment, g_schedule + RECOVERY + segment
                    low, to = _lowest(segment, flags, full), g_free + segment * size
                made = _exponential(ws, c, time, roots, size, scratch, low, full, pools)
                if step > 0:
                    _clear(ws, f, _ZERO, n)
                    _multiply_adjoint(ws, made, prefix + (step - 1) * size, g_pulse, f, e, _ZERO, n)
                    _copy_matrix(ws, g_pulse, e, _ZERO, n)
                    to = f
                _fill(ws, gc, count, 0.0)
                _exponential_adjoint(ws, c, roots, to, gc, g_time, scratch, low, full, pools)
                if segment < 0:
                    total = _irradiate_adjoint(ws, table, gc, g_table, shape[step], lanes, full, pools)
                    g_shape[first // LANES, step] += total
                for k in range(count - 2):
                    _sum(ws, g_table + k, g_table + k, gc + k)
            for v in range(LANES):
                ws[(g_schedule + PULSE) * LANES + v] += ws[g_duration * LANES + v] / steps
            for k in range(rows):
                for v in range(lanes):
                    g_inputs[k, contrast, first + v] = ws[(g_table + k) * LANES + v]
        for p in range(pools):
            for v in range(lanes):
                g_start[p, 0, first + v] = ws[(g + z + p) * LANES + v]
