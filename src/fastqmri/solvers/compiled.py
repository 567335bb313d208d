"""Compiled kernels for voxel-wise fits: SIMD over voxels, one block of lanes at a time.

A block's state lives in one flat workspace whose rows lie a constant number of lanes apart; that is what lets
the compiler see that rows never overlap, and vectorise. Only arithmetic that vectorises everywhere is used: no
library calls in a lane loop. The PyTorch form in `levenberg_marquardt` is the oracle of every kernel here.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

LANES = 64
LINES = 64  # lanes of the log-linear kernel, whose blocks have more rows
# NaN and infinity are screened out before; reassociation and contraction are what SIMD needs
_MATH = {"reassoc", "contract", "arcp", "nsz"}

_INTEGER = 6755399441055744.0  # 1.5 * 2**52: a float64 plus this holds its integer in the lowest bits
_ROOT_HALF = 0x3FE6A09E667F3BCD  # bits of sqrt(1/2)
_BIAS = 1024 << 52

# rows of the workspace of the separable kernels
_THETA, _TRIAL, _COST, _DAMP, _OPEN, _GRADIENT, _CURVATURE, _AMPLITUDE = (i * LANES for i in range(8))
_PP, _PQ, _QQ, _YP, _YQ, _P, _Q = (i * LANES for i in range(8, 15))  # sums of φφ, φφ', φ'φ', yφ, yφ', φ, φ'
_YY, _Y, _W, _BASIS, _STEP, _BEST = (i * LANES for i in range(15, 21))
_KPP, _KPQ, _KP, _KQ = (i * LANES for i in range(21, 25))  # the accepted point's sums
_U, _V, _EVALUATIONS = (i * LANES for i in range(25, 28))
_ROWS = 28 * LANES

OUTPUT_ROWS = {False: 2 + 3 + 3, True: 3 + 6 + 3}
"""Rows of a result: solution, packed covariance, residual sum of squares, converged, evaluations."""


@intrinsic
def _bits_of(context, x):
    """The bits of a float64 as an integer."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _float_of(context, bits):
    """The float64 of the bits of an integer."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@njit(fastmath=_MATH)
def _exp(x):
    """exp(x) for x <= 600, relative error below 1e-12; zero below -60 to 1e-26."""
    x = max(x, -60.0)
    k = np.floor(x * 1.4426950408889634 + 0.5)
    return _exp_series(x - k * 0.6931471805599453) * _two_to(k)


@njit(fastmath=_MATH)
def _exp_finely(x):
    """As `_exp`, with a relative error below 1e-15 while |x| is below one."""
    x = max(x, -60.0)
    k = np.floor(x * 1.4426950408889634 + 0.5)
    root = _exp_series(0.5 * (x - k * 0.6931471805599453))
    return root * root * _two_to(k)


@njit(fastmath=_MATH, forceinline=True)
def _exp_series(r):
    return 1.0 + r * (
        1.0
        + r
        * (
            0.5
            + r
            * (
                1 / 6
                + r
                * (
                    1 / 24
                    + r
                    * (
                        1 / 120
                        + r * (1 / 720 + r * (1 / 5040 + r * (1 / 40320 + r * (1 / 362880 + r / 3628800))))
                    )
                )
            )
        )
    )


@njit(fastmath=_MATH, forceinline=True)
def _two_to(k):
    return _float_of((_bits_of(k + _INTEGER) << 52) + _bits_of(1.0))  # type: ignore[call-arg]


@njit(fastmath=_MATH)
def _log(x):
    """ln x for normal x > 0, absolute error below 1e-14."""
    bits = _bits_of(x) - _ROOT_HALF  # type: ignore[call-arg]
    k = (bits + _BIAS >> 52) - 1024
    m = _float_of(bits - (k << 52) + _ROOT_HALF) - 1.0
    s = m / (2.0 + m)
    z = s * s
    p = 1.0 + z * (
        1 / 3
        + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11 + z * (1 / 13 + z * (1 / 15 + z * (1 / 17)))))))
    )
    return k * 0.6931471805599453 + 2.0 * s * p


@njit(fastmath=_MATH, error_model="numpy")
def _prepare(data, stride, y, w, ws, start, lanes):
    """Copy the block's data together, and sum what no trial changes: weights, y and y²."""
    for v in range(lanes):
        ws[_YY + v] = 0.0
        ws[_Y + v] = 0.0
        ws[_W + v] = 0.0
    for j in range(y.shape[0]):
        row = data[j * stride + start : j * stride + start + lanes]
        if w is None:
            for v in range(lanes):
                value = np.float64(row[v])
                y[j, v] = value
                ws[_YY + v] += value * value
                ws[_Y + v] += value
        else:
            for v in range(lanes):
                weight = w[j, start + v]
                value = np.float64(row[v])
                y[j, v] = value
                ws[_YY + v] += weight * value * value
                ws[_Y + v] += weight * value
                ws[_W + v] += weight
    if w is None:
        for v in range(lanes):
            ws[_W + v] = y.shape[0]


@njit(fastmath=_MATH, error_model="numpy")
def _clear_sums(ws, lanes):
    for v in range(lanes):
        ws[_PP + v] = 0.0
        ws[_PQ + v] = 0.0
        ws[_QQ + v] = 0.0
        ws[_YP + v] = 0.0
        ws[_YQ + v] = 0.0
        ws[_P + v] = 0.0
        ws[_Q + v] = 0.0


@njit(fastmath=_MATH, error_model="numpy")
def _judge(ws, lanes, constant, low, high, tolerance, first):
    """Eliminate the linear part, accept or reject the trial, and place the next one. Returns lanes still open.

    The step is Gauss-Newton's on the variable-projection residual (Kaufman's form), damped as Marquardt does.
    """
    still = 0.0
    for v in range(lanes):
        inverse = 1.0 / ws[_W + v] if constant else 0.0
        p, q, s = ws[_P + v], ws[_Q + v], ws[_Y + v]
        pp = ws[_PP + v] - p * p * inverse
        pq = ws[_PQ + v] - p * q * inverse
        qq = ws[_QQ + v] - q * q * inverse
        yp = ws[_YP + v] - s * p * inverse
        yq = ws[_YQ + v] - s * q * inverse
        yy = ws[_YY + v] - s * s * inverse
        pp = max(pp, 1e-300)
        amplitude = yp / pp
        cost = max(yy - amplitude * yp, 0.0)
        gradient = amplitude * (yq - amplitude * pq)
        curvature = max(amplitude * amplitude * (qq - pq * pq / pp), 1e-300)
        is_open = ws[_OPEN + v]
        better = cost <= ws[_COST + v]
        take = is_open > 0.0 and (better or first)
        trial = ws[_TRIAL + v]
        moved = abs(trial - ws[_THETA + v])
        small = moved <= tolerance * abs(trial)
        ws[_THETA + v] = trial if take else ws[_THETA + v]
        ws[_COST + v] = cost if take else ws[_COST + v]
        ws[_GRADIENT + v] = gradient if take else ws[_GRADIENT + v]
        ws[_CURVATURE + v] = curvature if take else ws[_CURVATURE + v]
        ws[_AMPLITUDE + v] = amplitude if take else ws[_AMPLITUDE + v]
        ws[_KPP + v] = pp if take else ws[_KPP + v]
        ws[_KPQ + v] = pq if take else ws[_KPQ + v]
        ws[_KP + v] = p if take else ws[_KP + v]
        ws[_KQ + v] = q if take else ws[_KQ + v]
        damp = ws[_DAMP + v]
        damp = max(damp * 0.1, 1e-9) if take else damp * 10.0
        ws[_DAMP + v] = damp
        ws[_EVALUATIONS + v] += is_open
        finished = (small and not first) or damp > 1e12
        is_open = 0.0 if finished else is_open
        ws[_OPEN + v] = is_open
        step = ws[_GRADIENT + v] / (ws[_CURVATURE + v] * (1.0 + damp))
        target = ws[_THETA + v] + step
        target = max(low, min(high, target))
        ws[_TRIAL + v] = target
        still += is_open
    return still


@njit(fastmath=_MATH, error_model="numpy")
def _finish(ws, lanes, constant, start, out):
    """Write solution, covariance per unit noise variance (packed lower triangle), residual, convergence."""
    for v in range(lanes):
        theta, a = ws[_THETA + v], ws[_AMPLITUDE + v]
        pp, pq = ws[_KPP + v], ws[_KPQ + v]
        tt = 1.0 / ws[_CURVATURE + v]
        slope = pq / pp * a
        at = -slope * tt
        aa = 1.0 / pp + slope * slope * tt
        if constant:
            inverse = 1.0 / ws[_W + v]
            mean_p, mean_q = ws[_KP + v] * inverse, a * ws[_KQ + v] * inverse
            out[0, start + v] = (ws[_Y + v] - a * ws[_KP + v]) * inverse
            out[1, start + v] = a
            out[2, start + v] = theta
            ca = -mean_p * aa - mean_q * at
            ct = -mean_p * at - mean_q * tt
            out[3, start + v] = inverse - mean_p * ca - mean_q * ct
            out[4, start + v] = ca
            out[5, start + v] = aa
            out[6, start + v] = ct
            out[7, start + v] = at
            out[8, start + v] = tt
            row = 9
        else:
            out[0, start + v] = a
            out[1, start + v] = theta
            out[2, start + v] = aa
            out[3, start + v] = at
            out[4, start + v] = tt
            row = 5
        out[row, start + v] = ws[_COST + v]
        out[row + 1, start + v] = 1.0 - ws[_OPEN + v]
        out[row + 2, start + v] = ws[_EVALUATIONS + v]


@njit(fastmath=_MATH, error_model="numpy")
def _reset(ws, lanes):
    for v in range(lanes):
        ws[_COST + v] = 1e300
        ws[_DAMP + v] = 1e-3
        ws[_OPEN + v] = 1.0
        ws[_EVALUATIONS + v] = 0.0
        ws[_THETA + v] = ws[_TRIAL + v]


@njit(fastmath=_MATH, error_model="numpy")
def _exponential_start(y, w, ws, start, lanes, constant, grid, table):
    """The rate of a coarse grid that explains most of the signal."""
    for v in range(lanes):
        ws[_BEST + v] = -1.0
        ws[_TRIAL + v] = grid[0]
    for k in range(grid.shape[0]):
        for v in range(lanes):
            ws[_YP + v] = 0.0
            ws[_P + v] = 0.0
            ws[_PP + v] = 0.0
        total, square = 0.0, 0.0
        for j in range(y.shape[0]):
            e = table[k, j]
            total += e
            square += e * e
            if w is None:
                for v in range(lanes):
                    ws[_YP + v] += e * y[j, v]
            else:
                for v in range(lanes):
                    weight = w[j, start + v]
                    ws[_YP + v] += weight * e * y[j, v]
                    ws[_P + v] += weight * e
                    ws[_PP + v] += weight * e * e
        if w is None:
            for v in range(lanes):
                ws[_P + v] = total
                ws[_PP + v] = square
        rate = grid[k]
        for v in range(lanes):
            inverse = 1.0 / ws[_W + v] if constant else 0.0
            p = ws[_P + v]
            yp = ws[_YP + v] - ws[_Y + v] * p * inverse
            gain = yp * yp / max(ws[_PP + v] - p * p * inverse, 1e-300)
            more = gain > ws[_BEST + v]
            ws[_BEST + v] = gain if more else ws[_BEST + v]
            ws[_TRIAL + v] = rate if more else ws[_TRIAL + v]


@njit(fastmath=_MATH, error_model="numpy")
def _exponential_sums(y, w, ws, start, lanes, times, constant):
    """Sums over contrasts of φ = exp(-θt) and φ' = -tφ at the trial point."""
    _clear_sums(ws, lanes)
    previous, spacing = 0.0, -1.0
    for v in range(lanes):
        ws[_BASIS + v] = 1.0
    for j in range(times.shape[0]):
        t = times[j]
        if abs(t - previous - spacing) > 1e-12:  # equal spacing needs one exponential for all echoes
            spacing = t - previous
            for v in range(lanes):
                ws[_STEP + v] = _exp(-spacing * ws[_TRIAL + v])
        previous = t
        tt = t * t
        if w is None:
            if constant:
                for v in range(lanes):
                    e = ws[_BASIS + v] * ws[_STEP + v]
                    ws[_BASIS + v] = e
                    f = e * e
                    g = e * y[j, v]
                    ws[_PP + v] += f
                    ws[_PQ + v] -= t * f
                    ws[_QQ + v] += tt * f
                    ws[_YP + v] += g
                    ws[_YQ + v] -= t * g
                    ws[_P + v] += e
                    ws[_Q + v] -= t * e
            else:
                for v in range(lanes):
                    e = ws[_BASIS + v] * ws[_STEP + v]
                    ws[_BASIS + v] = e
                    f = e * e
                    g = e * y[j, v]
                    ws[_PP + v] += f
                    ws[_PQ + v] -= t * f
                    ws[_QQ + v] += tt * f
                    ws[_YP + v] += g
                    ws[_YQ + v] -= t * g
        else:
            for v in range(lanes):
                weight = w[j, start + v]
                e = ws[_BASIS + v] * ws[_STEP + v]
                ws[_BASIS + v] = e
                we = weight * e
                f = we * e
                g = we * y[j, v]
                ws[_PP + v] += f
                ws[_PQ + v] -= t * f
                ws[_QQ + v] += tt * f
                ws[_YP + v] += g
                ws[_YQ + v] -= t * g
                ws[_P + v] += we
                ws[_Q + v] -= t * we


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def exponential(
    data, stride, w, times, constant, low, high, grid, table, iterations, tolerance, begin, end, out
):
    """Fit [c +] a exp(-θ t) to every column of data.

    Args:
        data: samples; those of contrast j (ascending in time) and voxel v stand at j * stride + v.
        stride: see ``data``.
        w: (contrast, voxel) weights, or None.
        times: (contrast,) ascending.
        constant: fit c.
        low, high: bounds of θ.
        grid: (k,) rates to start from; table: (k, contrast) their exponentials.
        iterations: evaluations at most.
        tolerance: relative change of θ that ends a fit.
        begin, end: voxels of this call; calls on separate ranges may run in parallel threads.
        out: (rows, voxel), see OUTPUT_ROWS.
    """
    ws = np.empty(_ROWS)
    y = np.empty((times.shape[0], LANES))
    for start in range(begin, end, LANES):
        lanes = min(LANES, end - start)
        _prepare(data, stride, y, w, ws, start, lanes)
        _exponential_start(y, w, ws, start, lanes, constant, grid, table)
        _reset(ws, lanes)
        for i in range(iterations):
            _exponential_sums(y, w, ws, start, lanes, times, constant)
            if _judge(ws, lanes, constant, low, high, tolerance, i == 0) == 0.0:
                break
        _finish(ws, lanes, constant, start, out)


@njit(fastmath=_MATH, error_model="numpy")
def _rational_start(y, w, ws, start, lanes, sine, cosine, low, high):
    """y = θ (c y) + a s by linear least squares: the linearised fit, weighted by sin²."""
    _clear_sums(ws, lanes)
    shared = sine.shape[1] == 1
    for j in range(y.shape[0]):
        if shared:
            s, c = sine[j, 0], cosine[j, 0]
            for v in range(lanes):
                weight = 1.0 if w is None else w[j, start + v]
                value = y[j, v]
                u = c * value
                ws[_PP + v] += weight * s * s
                ws[_PQ + v] += weight * s * u
                ws[_QQ + v] += weight * u * u
                ws[_YP + v] += weight * s * value
                ws[_YQ + v] += weight * u * value
        else:
            for v in range(lanes):
                weight = 1.0 if w is None else w[j, start + v]
                value = y[j, v]
                s = sine[j, start + v]
                u = cosine[j, start + v] * value
                ws[_PP + v] += weight * s * s
                ws[_PQ + v] += weight * s * u
                ws[_QQ + v] += weight * u * u
                ws[_YP + v] += weight * s * value
                ws[_YQ + v] += weight * u * value
    for v in range(lanes):
        ss = max(ws[_PP + v], 1e-300)
        slope = (ws[_YQ + v] - ws[_PQ + v] * ws[_YP + v] / ss) / max(
            ws[_QQ + v] - ws[_PQ + v] * ws[_PQ + v] / ss, 1e-300
        )
        ws[_TRIAL + v] = max(low, min(high, slope))


@njit(fastmath=_MATH, error_model="numpy")
def _rational_sums(y, w, ws, start, lanes, sine, cosine):
    """Sums over contrasts of φ = s/(1 - θc) and φ' = φc/(1 - θc) at the trial point."""
    _clear_sums(ws, lanes)
    shared = sine.shape[1] == 1
    for j in range(y.shape[0]):
        if shared:
            s, c = sine[j, 0], cosine[j, 0]
            for v in range(lanes):
                weight = 1.0 if w is None else w[j, start + v]
                value = weight * y[j, v]
                d = 1.0 / (1.0 - ws[_TRIAL + v] * c)
                p = s * d
                q = p * c * d
                ws[_PP + v] += weight * p * p
                ws[_PQ + v] += weight * p * q
                ws[_QQ + v] += weight * q * q
                ws[_YP + v] += value * p
                ws[_YQ + v] += value * q
        else:
            for v in range(lanes):
                weight = 1.0 if w is None else w[j, start + v]
                value = weight * y[j, v]
                c = cosine[j, start + v]
                d = 1.0 / (1.0 - ws[_TRIAL + v] * c)
                p = sine[j, start + v] * d
                q = p * c * d
                ws[_PP + v] += weight * p * p
                ws[_PQ + v] += weight * p * q
                ws[_QQ + v] += weight * q * q
                ws[_YP + v] += value * p
                ws[_YQ + v] += value * q


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def rational(data, stride, w, sine, cosine, low, high, iterations, tolerance, begin, end, out):
    """Fit a s/(1 - θ c) to every column of data.

    Args:
        data: samples; those of contrast j and voxel v stand at j * stride + v.
        stride: see ``data``.
        w: (contrast, voxel) weights, or None.
        sine, cosine: s and c, (contrast, voxel), or (contrast, 1) where all voxels share them.
        low, high: bounds of θ.
        iterations: evaluations at most.
        tolerance: relative change of θ that ends a fit.
        begin, end: voxels of this call; calls on separate ranges may run in parallel threads.
        out: (rows, voxel), see OUTPUT_ROWS.
    """
    ws = np.empty(_ROWS)
    y = np.empty((sine.shape[0], LANES))
    for start in range(begin, end, LANES):
        lanes = min(LANES, end - start)
        _prepare(data, stride, y, w, ws, start, lanes)
        _rational_start(y, w, ws, start, lanes, sine, cosine, low, high)
        _reset(ws, lanes)
        for i in range(iterations):
            _rational_sums(y, w, ws, start, lanes, sine, cosine)
            if _judge(ws, lanes, False, low, high, tolerance, i == 0) == 0.0:
                break
        _finish(ws, lanes, False, start, out)


@njit(fastmath=_MATH, error_model="numpy")
def _contract(weights, table, first, columns, samples, sums):
    """sums[k] = Σ_j weights[j] table[j, first + k], two columns and eight samples a sweep to spare the caches."""
    for pair in range(columns // 2):
        k = 2 * pair
        for v in range(LINES):
            sums[k, v] = 0.0
            sums[k + 1, v] = 0.0
        for i in range(samples // 8):
            j = 8 * i
            x0, x1, x2, x3 = _four(table, j, first + k)
            x4, x5, x6, x7 = _four(table, j + 4, first + k)
            z0, z1, z2, z3 = _four(table, j, first + k + 1)
            z4, z5, z6, z7 = _four(table, j + 4, first + k + 1)
            for v in range(LINES):
                w0, w1, w2, w3 = weights[j, v], weights[j + 1, v], weights[j + 2, v], weights[j + 3, v]
                w4, w5, w6, w7 = weights[j + 4, v], weights[j + 5, v], weights[j + 6, v], weights[j + 7, v]
                x, z = sums[k, v], sums[k + 1, v]
                x += x0 * w0
                z += z0 * w0
                x += x1 * w1
                z += z1 * w1
                x += x2 * w2
                z += z2 * w2
                x += x3 * w3
                z += z3 * w3
                x += x4 * w4
                z += z4 * w4
                x += x5 * w5
                z += z5 * w5
                x += x6 * w6
                z += z6 * w6
                x += x7 * w7
                z += z7 * w7
                sums[k, v] = x
                sums[k + 1, v] = z
    if columns % 2:
        k = columns - 1
        for v in range(LINES):
            sums[k, v] = 0.0
        for i in range(samples // 8):
            j = 8 * i
            x0, x1, x2, x3 = _four(table, j, first + k)
            x4, x5, x6, x7 = _four(table, j + 4, first + k)
            for v in range(LINES):
                x = sums[k, v]
                x += x0 * weights[j, v]
                x += x1 * weights[j + 1, v]
                x += x2 * weights[j + 2, v]
                x += x3 * weights[j + 3, v]
                x += x4 * weights[j + 4, v]
                x += x5 * weights[j + 5, v]
                x += x6 * weights[j + 6, v]
                x += x7 * weights[j + 7, v]
                sums[k, v] = x


@njit(fastmath=_MATH, error_model="numpy")
def _four(table, row, column):
    return table[row, column], table[row + 1, column], table[row + 2, column], table[row + 3, column]


@njit(fastmath=_MATH, error_model="numpy")
def _cholesky(normal, damp, factor, p):
    """Packed lower factor of (normal + damp diag normal), lane by lane; its diagonal holds reciprocals."""
    for i in range(p):
        for j in range(i + 1):
            ij, jj = _packed(i, j), _packed(j, j)
            for v in range(LINES):
                factor[ij, v] = normal[ij, v]
            if i == j:
                for v in range(LINES):
                    factor[ij, v] *= 1.0 + damp[v]
            for k in range(j):
                ik, jk = _packed(i, k), _packed(j, k)
                for v in range(LINES):
                    factor[ij, v] -= factor[ik, v] * factor[jk, v]
            if i == j:
                for v in range(LINES):
                    factor[ij, v] = 1.0 / math.sqrt(max(factor[ij, v], 1e-300))
            else:
                for v in range(LINES):
                    factor[ij, v] *= factor[jj, v]


@njit(fastmath=_MATH, error_model="numpy")
def _packed(i, j):
    """Place of row i, column j <= i in a packed lower triangle."""
    return i * (i + 1) // 2 + j


@njit(fastmath=_MATH, error_model="numpy")
def _substitute(factor, vector, p, first):
    """Solve in place with the factor of `_cholesky`, for right sides and solutions of which only the elements
    from ``first`` on matter (those before are zero, or not wanted)."""
    for i in range(first, p):
        ii = _packed(i, i)
        for k in range(first, i):
            ik = _packed(i, k)
            for v in range(LINES):
                vector[i, v] -= factor[ik, v] * vector[k, v]
        for v in range(LINES):
            vector[i, v] *= factor[ii, v]
    for i in range(p - 1, first - 1, -1):
        ii = _packed(i, i)
        for k in range(i + 1, p):
            ki = _packed(k, i)
            for v in range(LINES):
                vector[i, v] -= factor[ki, v] * vector[k, v]
        for v in range(LINES):
            vector[i, v] *= factor[ii, v]


@njit(fastmath=_MATH, error_model="numpy")
def _logarithm(design, j, beta, signal):
    """All but the last four terms of Σ_k design[j, k] beta[k]; the number of columns is a multiple of four."""
    for v in range(LINES):
        signal[j, v] = 0.0
    for i in range(design.shape[1] // 4 - 1):
        k = 4 * i
        x0, x1, x2, x3 = design[j, k], design[j, k + 1], design[j, k + 2], design[j, k + 3]
        for v in range(LINES):
            signal[j, v] += (x0 * beta[k, v] + x1 * beta[k + 1, v]) + (
                x2 * beta[k + 2, v] + x3 * beta[k + 3, v]
            )


@njit(fastmath=_MATH, error_model="numpy")
def _predict(design, samples, beta, signal):
    """signal[j] = exp(Σ_k design[j, k] beta[k])."""
    k = design.shape[1] - 4
    for j in range(samples):
        _logarithm(design, j, beta, signal)
        x0, x1, x2, x3 = design[j, k], design[j, k + 1], design[j, k + 2], design[j, k + 3]
        for v in range(LINES):
            x = (
                signal[j, v]
                + (x0 * beta[k, v] + x1 * beta[k + 1, v])
                + (x2 * beta[k + 2, v] + x3 * beta[k + 3, v])
            )
            signal[j, v] = _exp(min(x, 60.0))


@njit(fastmath=_MATH, error_model="numpy")
def _reweight(design, logs, w, beta, weights, slopes, samples):
    """Weights of the logarithms, the squared signals that beta predicts, and weights times logarithms."""
    k = design.shape[1] - 4
    for j in range(samples):
        _logarithm(design, j, beta, weights)
        x0, x1, x2, x3 = design[j, k], design[j, k + 1], design[j, k + 2], design[j, k + 3]
        for v in range(LINES):
            x = (
                weights[j, v]
                + (x0 * beta[k, v] + x1 * beta[k + 1, v])
                + (x2 * beta[k + 2, v] + x3 * beta[k + 3, v])
            )
            f = _exp(min(x, 60.0))
            weight = f * f if w is None else w[j, v] * f * f
            weights[j, v] = weight
            slopes[j, v] = weight * logs[j, v]


@njit(fastmath=_MATH, error_model="numpy")
def _residuals(y, w, signal, weights, slopes, cost, contrasts):
    """Cost, and what the normal equations of the non-linear fit are summed from."""
    for v in range(LINES):
        cost[v] = 0.0
    for j in range(contrasts):
        for v in range(LINES):
            f = signal[j, v]
            r = y[j, v] - f
            weight = 1.0 if w is None else w[j, v]
            cost[v] += weight * r * r
            weights[j, v] = weight * f * f
            slopes[j, v] = weight * f * r


@njit(fastmath=_MATH, error_model="numpy")
def _keep(rows, take, new, old):
    for k in range(rows):
        for v in range(LINES):
            old[k, v] = new[k, v] if take[v] > 0.0 else old[k, v]


@njit(fastmath=_MATH, error_model="numpy")
def _inverse(factor, p, step, start, lanes, out):
    """Packed inverse of the factored matrix into the rows of ``out`` after the solution."""
    for c in range(p):
        for k in range(c, p):
            value = 1.0 if k == c else 0.0
            for v in range(LINES):
                step[k, v] = value
        _substitute(factor, step, p, c)
        for k in range(c, p):
            row = p + k * (k + 1) // 2 + c
            for v in range(lanes):
                out[row, start + v] = step[k, v]


@njit(fastmath=_MATH, error_model="numpy")
def _gather(row, block):
    """Copy a contrast's samples; lanes beyond the last voxel get a harmless one."""
    lanes = row.shape[0]
    for v in range(lanes):
        block[v] = row[v]
    for v in range(lanes, LINES):
        block[v] = 1.0


@njit(fastmath=_MATH, error_model="numpy")
def _ordinary(logs, w, inverse, table, contrasts, padded, p, slopes, normal, damp, factor, beta):
    """Least squares of the logarithms: all samples alike, or only those with a weight."""
    pairs = p * (p + 1) // 2
    if w is None:
        _contract(logs, inverse, 0, p, padded, beta)
    else:
        for j in range(contrasts):
            for v in range(LINES):
                slopes[j, v] = w[j, v] * logs[j, v]
        _contract(w, table, 0, pairs, padded, normal)
        _contract(slopes, table, pairs, p, padded, beta)
        _cholesky(normal, damp, factor, p)
        _substitute(factor, beta, p, 0)


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def log_linear(data, stride, w, design, inverse, table, passes, iterations, tolerance, begin, end, out):
    """Fit exp(X β) to every column: ordinary, reweighted, and non-linear least squares in turn.

    Args:
        data: samples, positive wherever the weight is; those of contrast j and voxel v stand at j * stride + v.
        stride: see ``data``.
        w: (contrast, voxel) weights, or None.
        design: X, (padded contrast, padded p), rows beyond the contrasts zero, their number a multiple of
            eight; columns beyond p zero, their number a multiple of four.
        inverse: (padded contrast, p) transposed pseudo-inverse of X, zero beyond the contrasts.
        table: (padded contrast, pairs + p) products of the columns of X, packed lower triangle, then X.
        passes: reweighted least-squares passes after the ordinary one (at least one).
        iterations: steps of non-linear least squares after that; none stops at the reweighted solution.
        tolerance: change of β that ends a fit.
        begin, end: voxels of this call; calls on separate ranges may run in parallel threads.
        out: (p + pairs + 3, voxel): β, covariance per unit noise variance (packed), residual sum of squares,
            converged, evaluations.
    """
    contrasts, p = -(-data.shape[0] // stride), inverse.shape[1]
    padded, wide = design.shape
    pairs = p * (p + 1) // 2
    y, logs = np.zeros((padded, LINES)), np.zeros((padded, LINES))
    signal, weights, slopes = np.zeros((padded, LINES)), np.zeros((padded, LINES)), np.zeros((padded, LINES))
    block = None if w is None else np.zeros((padded, LINES))
    beta, trial, step = np.zeros((wide, LINES)), np.zeros((wide, LINES)), np.empty((p, LINES))
    gradient, kept_gradient = np.empty((p, LINES)), np.empty((p, LINES))
    normal, kept, factor = np.empty((pairs, LINES)), np.empty((pairs, LINES)), np.empty((pairs, LINES))
    cost, best, damp = np.empty(LINES), np.empty(LINES), np.empty(LINES)
    is_open, count, take = np.empty(LINES), np.empty(LINES), np.empty(LINES)
    for start in range(begin, end, LINES):
        lanes = min(LINES, end - start)
        for j in range(contrasts):
            _gather(data[j * stride + start : j * stride + start + lanes], y[j])
            if block is not None:
                _gather(w[j, start : start + lanes], block[j])
        for j in range(contrasts):
            for v in range(LINES):
                logs[j, v] = _log(max(y[j, v], 1e-30))
        for v in range(LINES):
            damp[v] = 0.0
            count[v] = 0.0
            is_open[v] = 0.0
        _ordinary(logs, block, inverse, table, contrasts, padded, p, slopes, normal, damp, factor, beta)
        for _ in range(passes):
            _reweight(design, logs, block, beta, weights, slopes, contrasts)
            _contract(weights, table, 0, pairs, padded, normal)
            _contract(slopes, table, pairs, p, padded, beta)
            _cholesky(normal, damp, factor, p)
            _substitute(factor, beta, p, 0)
        if iterations == 0:  # the factor of the last pass gives the covariance
            _predict(design, contrasts, beta, signal)
            _residuals(y, block, signal, weights, slopes, best, contrasts)
        else:
            for v in range(LINES):
                damp[v] = 1e-3
                best[v] = 1e300
                is_open[v] = 1.0
            for k in range(p):
                for v in range(LINES):
                    trial[k, v] = beta[k, v]
            for i in range(iterations):
                _predict(design, contrasts, trial, signal)
                _residuals(y, block, signal, weights, slopes, cost, contrasts)
                _contract(weights, table, 0, pairs, padded, normal)
                _contract(slopes, table, pairs, p, padded, gradient)
                if _accept(i, trial, beta, p, cost, best, damp, is_open, count, take, tolerance) == 0.0:
                    _keep(p, take, trial, beta)
                    _keep(pairs, take, normal, kept)
                    break
                _keep(p, take, trial, beta)
                _keep(p, take, gradient, kept_gradient)
                _keep(pairs, take, normal, kept)
                _cholesky(kept, damp, factor, p)
                for k in range(p):
                    for v in range(LINES):
                        step[k, v] = kept_gradient[k, v]
                _substitute(factor, step, p, 0)
                for k in range(p):
                    for v in range(LINES):
                        trial[k, v] = beta[k, v] + step[k, v]
            for v in range(LINES):
                damp[v] = 0.0
            _cholesky(kept, damp, factor, p)
        _inverse(factor, p, step, start, lanes, out)
        for k in range(p):
            for v in range(lanes):
                out[k, start + v] = beta[k, v]
        for v in range(lanes):
            out[p + pairs, start + v] = best[v]
            out[p + pairs + 1, start + v] = 1.0 - is_open[v]
            out[p + pairs + 2, start + v] = count[v]


@njit(fastmath=_MATH, error_model="numpy")
def _accept(i, trial, beta, p, cost, best, damp, is_open, count, take, tolerance):
    """Accept or reject every lane's trial, and close the lanes that settled. Returns lanes still open."""
    change = np.zeros(LINES)
    for k in range(p):
        for v in range(LINES):
            change[v] = max(change[v], abs(trial[k, v] - beta[k, v]))
    still = 0.0
    for v in range(LINES):
        accept = is_open[v] > 0.0 and cost[v] <= best[v]
        take[v] = 1.0 if accept else 0.0
        best[v] = cost[v] if accept else best[v]
        damp[v] = max(damp[v] * 0.1, 1e-9) if accept else damp[v] * 10.0
        count[v] += is_open[v]
        finished = (i > 0 and change[v] <= tolerance) or damp[v] > 1e12
        is_open[v] = 0.0 if finished else is_open[v]
        still += is_open[v]
    return still
