"""Compiled kernels for voxel-wise fits: SIMD over voxels, one block of lanes at a time.

A block's state lives in one flat workspace whose rows lie a constant number of lanes apart; that is what lets
the compiler see that rows never overlap, and vectorise. Only arithmetic that vectorises everywhere is used: no
library calls in a lane loop. The PyTorch form in `levenberg_marquardt` is the oracle of every kernel here.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

LANES = 64
# NaN and infinity are screened out before; reassociation and contraction are what SIMD needs
_MATH = {"reassoc", "contract", "arcp", "nsz"}

# rows of the workspace of the separable kernels
_THETA, _TRIAL, _COST, _DAMP, _OPEN, _GRADIENT, _CURVATURE, _AMPLITUDE = (i * LANES for i in range(8))
_PP, _PQ, _QQ, _YP, _YQ, _P, _Q = (i * LANES for i in range(8, 15))  # sums of φφ, φφ', φ'φ', yφ, yφ', φ, φ'
_YY, _Y, _W, _BASIS, _STEP, _BEST = (i * LANES for i in range(15, 21))
_KPP, _KPQ, _KP, _KQ = (i * LANES for i in range(21, 25))  # the accepted point's sums
_U, _V, _EVALUATIONS = (i * LANES for i in range(25, 28))
_ROWS = 28 * LANES

OUTPUT_ROWS = {False: 2 + 3 + 3, True: 3 + 6 + 3}
"""Rows of a result: solution, packed covariance, residual sum of squares, converged, evaluations."""


@njit(fastmath=_MATH)
def _exp(x):
    """exp(x) for x <= 0 by scaling and squaring; relative error below 1e-11, zero below -60 to 1e-26."""
    r = max(x, -60.0) * (1.0 / 1024.0)
    p = 1.0 + r * (
        1.0 + r * (0.5 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r * (1 / 720 + r * (1 / 5040))))))
    )
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    p *= p
    return p


@njit(fastmath=_MATH, error_model="numpy")
def _prepare(data, y, w, ws, start, lanes):
    """Copy the block's data together, and sum what no trial changes: weights, y and y²."""
    for v in range(lanes):
        ws[_YY + v] = 0.0
        ws[_Y + v] = 0.0
        ws[_W + v] = 0.0
    for j in range(y.shape[0]):
        if w is None:
            for v in range(lanes):
                value = data[j, start + v]
                y[j, v] = value
                ws[_YY + v] += value * value
                ws[_Y + v] += value
        else:
            for v in range(lanes):
                weight = w[j, start + v]
                value = data[j, start + v]
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
def exponential(data, w, times, constant, low, high, grid, table, iterations, tolerance, begin, end, out):
    """Fit [c +] a exp(-θ t) to every column of data.

    Args:
        data: (contrast, voxel), contrasts in ascending order of time.
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
    y = np.empty((data.shape[0], LANES))
    for start in range(begin, end, LANES):
        lanes = min(LANES, end - start)
        _prepare(data, y, w, ws, start, lanes)
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
def rational(data, w, sine, cosine, low, high, iterations, tolerance, begin, end, out):
    """Fit a s/(1 - θ c) to every column of data.

    Args:
        data: (contrast, voxel).
        w: (contrast, voxel) weights, or None.
        sine, cosine: s and c, (contrast, voxel), or (contrast, 1) where all voxels share them.
        low, high: bounds of θ.
        iterations: evaluations at most.
        tolerance: relative change of θ that ends a fit.
        begin, end: voxels of this call; calls on separate ranges may run in parallel threads.
        out: (rows, voxel), see OUTPUT_ROWS.
    """
    ws = np.empty(_ROWS)
    y = np.empty((data.shape[0], LANES))
    for start in range(begin, end, LANES):
        lanes = min(LANES, end - start)
        _prepare(data, y, w, ws, start, lanes)
        _rational_start(y, w, ws, start, lanes, sine, cosine, low, high)
        _reset(ws, lanes)
        for i in range(iterations):
            _rational_sums(y, w, ws, start, lanes, sine, cosine)
            if _judge(ws, lanes, False, low, high, tolerance, i == 0) == 0.0:
                break
        _finish(ws, lanes, False, start, out)


@njit(fastmath=_MATH, error_model="numpy")
def _contract(weights, table, first, columns, samples, sums, lanes):
    """sums[k] = Σ_j weights[j] table[j, first + k], eight samples a sweep to spare the caches."""
    for k in range(columns):
        for v in range(lanes):
            sums[k, v] = 0.0
        for i in range(samples // 8):
            j = 8 * i
            x0, x1, x2, x3 = (
                table[j, first + k],
                table[j + 1, first + k],
                table[j + 2, first + k],
                table[j + 3, first + k],
            )
            x4, x5, x6, x7 = (
                table[j + 4, first + k],
                table[j + 5, first + k],
                table[j + 6, first + k],
                table[j + 7, first + k],
            )
            for v in range(lanes):
                sums[k, v] += (
                    (x0 * weights[j, v] + x1 * weights[j + 1, v]) + (x2 * weights[j + 2, v] + x3 * weights[j + 3, v])
                ) + (
                    (x4 * weights[j + 4, v] + x5 * weights[j + 5, v])
                    + (x6 * weights[j + 6, v] + x7 * weights[j + 7, v])
                )


@njit(fastmath=_MATH, error_model="numpy")
def _cholesky(normal, damp, factor, p, lanes):
    """Packed lower factor of (normal + damp diag normal), lane by lane; its diagonal holds reciprocals."""
    for i in range(p):
        for j in range(i + 1):
            ij, jj = i * (i + 1) // 2 + j, j * (j + 1) // 2 + j
            for v in range(lanes):
                factor[ij, v] = normal[ij, v]
            if i == j:
                for v in range(lanes):
                    factor[ij, v] *= 1.0 + damp[v]
            for k in range(j):
                ik, jk = i * (i + 1) // 2 + k, j * (j + 1) // 2 + k
                for v in range(lanes):
                    factor[ij, v] -= factor[ik, v] * factor[jk, v]
            if i == j:
                for v in range(lanes):
                    factor[ij, v] = 1.0 / math.sqrt(max(factor[ij, v], 1e-300))
            else:
                for v in range(lanes):
                    factor[ij, v] *= factor[jj, v]


@njit(fastmath=_MATH, error_model="numpy")
def _substitute(factor, vector, p, lanes):
    """Solve in place with the factor of `_cholesky`."""
    for i in range(p):
        for k in range(i):
            ik = i * (i + 1) // 2 + k
            for v in range(lanes):
                vector[i, v] -= factor[ik, v] * vector[k, v]
        ii = i * (i + 1) // 2 + i
        for v in range(lanes):
            vector[i, v] *= factor[ii, v]
    for i in range(p - 1, -1, -1):
        for k in range(i + 1, p):
            ki = k * (k + 1) // 2 + i
            for v in range(lanes):
                vector[i, v] -= factor[ki, v] * vector[k, v]
        ii = i * (i + 1) // 2 + i
        for v in range(lanes):
            vector[i, v] *= factor[ii, v]


@njit(fastmath=_MATH, error_model="numpy")
def _predict(design, samples, p, beta, signal, lanes):
    """signal[j] = exp(Σ_k design[j, k] beta[k])."""
    for j in range(samples):
        x = design[j, 0]
        for v in range(lanes):
            signal[j, v] = x * beta[0, v]
        for k in range(1, p):
            x = design[j, k]
            for v in range(lanes):
                signal[j, v] += x * beta[k, v]
        for v in range(lanes):
            signal[j, v] = _exp(min(signal[j, v], 60.0))


@njit(fastmath=_MATH, error_model="numpy")
def _reweighted(signal, logs, w, start, weights, slopes, contrasts, lanes):
    """Weights f² of the logarithms, and weights times logarithms."""
    for j in range(contrasts):
        for v in range(lanes):
            weight = signal[j, v] * signal[j, v]
            if w is not None:
                weight *= w[j, start + v]
            weights[j, v] = weight
            slopes[j, v] = weight * logs[j, start + v]


@njit(fastmath=_MATH, error_model="numpy")
def _residuals(data, w, start, signal, weights, slopes, cost, contrasts, lanes):
    """Cost, and what the normal equations of the non-linear fit are summed from."""
    for v in range(lanes):
        cost[v] = 0.0
    for j in range(contrasts):
        for v in range(lanes):
            f = signal[j, v]
            r = data[j, start + v] - f
            weight = 1.0 if w is None else w[j, start + v]
            cost[v] += weight * r * r
            weights[j, v] = weight * f * f
            slopes[j, v] = weight * f * r


@njit(fastmath=_MATH, error_model="numpy")
def _keep(rows, take, new, old, lanes):
    for k in range(rows):
        for v in range(lanes):
            old[k, v] = new[k, v] if take[v] > 0.0 else old[k, v]


@njit(fastmath=_MATH, error_model="numpy")
def _inverse(factor, p, step, lanes, start, out):
    """Packed inverse of the factored matrix into the rows of ``out`` after the solution."""
    for c in range(p):
        for k in range(p):
            value = 1.0 if k == c else 0.0
            for v in range(lanes):
                step[k, v] = value
        _substitute(factor, step, p, lanes)
        for k in range(c, p):
            row = p + k * (k + 1) // 2 + c
            for v in range(lanes):
                out[row, start + v] = step[k, v]


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def log_linear(data, logs, w, design, inverse, table, passes, iterations, tolerance, begin, end, out):
    """Fit exp(X β) to every column: ordinary, reweighted, and non-linear least squares in turn.

    Args:
        data: (contrast, voxel), positive; logs: their logarithms.
        w: (contrast, voxel) weights, or None.
        design: X, (padded contrast, p), rows beyond the contrasts zero, their number a multiple of eight.
        inverse: (p, contrast) pseudo-inverse of X.
        table: (padded contrast, pairs + p) products of the columns of X, packed lower triangle, then X.
        passes: reweighted least-squares passes after the ordinary one (at least one).
        iterations: steps of non-linear least squares after that; none stops at the reweighted solution.
        tolerance: change of β that ends a fit.
        begin, end: voxels of this call; calls on separate ranges may run in parallel threads.
        out: (p + pairs + 3, voxel): β, covariance per unit noise variance (packed), residual sum of squares,
            converged, evaluations.
    """
    contrasts = data.shape[0]
    padded, p = design.shape
    pairs = p * (p + 1) // 2
    signal, weights, slopes = (
        np.zeros((padded, LANES)),
        np.zeros((padded, LANES)),
        np.zeros((padded, LANES)),
    )
    beta, trial, step = np.empty((p, LANES)), np.empty((p, LANES)), np.empty((p, LANES))
    gradient, kept_gradient = np.empty((p, LANES)), np.empty((p, LANES))
    normal, kept, factor = np.empty((pairs, LANES)), np.empty((pairs, LANES)), np.empty((pairs, LANES))
    cost, best, damp = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    is_open, count, take, change = np.empty(LANES), np.empty(LANES), np.empty(LANES), np.empty(LANES)
    for start in range(begin, end, LANES):
        lanes = min(LANES, end - start)
        for v in range(lanes):
            damp[v] = 0.0
            count[v] = 0.0
        if w is None:
            for k in range(p):
                for v in range(lanes):
                    beta[k, v] = 0.0
                for j in range(contrasts):
                    x = inverse[k, j]
                    for v in range(lanes):
                        beta[k, v] += x * logs[j, start + v]
        else:
            for j in range(contrasts):
                for v in range(lanes):
                    weights[j, v] = w[j, start + v]
                    slopes[j, v] = w[j, start + v] * logs[j, start + v]
            _contract(weights, table, 0, pairs, padded, normal, lanes)
            _contract(slopes, table, pairs, p, padded, beta, lanes)
            _cholesky(normal, damp, factor, p, lanes)
            _substitute(factor, beta, p, lanes)
        for _ in range(passes):
            _predict(design, contrasts, p, beta, signal, lanes)
            _reweighted(signal, logs, w, start, weights, slopes, contrasts, lanes)
            _contract(weights, table, 0, pairs, padded, normal, lanes)
            _contract(slopes, table, pairs, p, padded, beta, lanes)
            _cholesky(normal, damp, factor, p, lanes)
            _substitute(factor, beta, p, lanes)
        if iterations == 0:  # the factor of the last pass gives the covariance
            _predict(design, contrasts, p, beta, signal, lanes)
            _residuals(data, w, start, signal, weights, slopes, best, contrasts, lanes)
            for v in range(lanes):
                is_open[v] = 0.0
        else:
            for v in range(lanes):
                damp[v] = 1e-3
                best[v] = 1e300
                is_open[v] = 1.0
            for k in range(p):
                for v in range(lanes):
                    trial[k, v] = beta[k, v]
            for i in range(iterations):
                _predict(design, contrasts, p, trial, signal, lanes)
                _residuals(data, w, start, signal, weights, slopes, cost, contrasts, lanes)
                _contract(weights, table, 0, pairs, padded, normal, lanes)
                _contract(slopes, table, pairs, p, padded, gradient, lanes)
                for v in range(lanes):
                    change[v] = 0.0
                for k in range(p):
                    for v in range(lanes):
                        change[v] = max(change[v], abs(trial[k, v] - beta[k, v]))
                still = 0.0
                for v in range(lanes):
                    accept = is_open[v] > 0.0 and cost[v] <= best[v]
                    take[v] = 1.0 if accept else 0.0
                    best[v] = cost[v] if accept else best[v]
                    damp[v] = max(damp[v] * 0.1, 1e-9) if accept else damp[v] * 10.0
                    count[v] += is_open[v]
                    finished = (i > 0 and change[v] <= tolerance) or damp[v] > 1e12
                    is_open[v] = 0.0 if finished else is_open[v]
                    still += is_open[v]
                _keep(p, take, trial, beta, lanes)
                _keep(p, take, gradient, kept_gradient, lanes)
                _keep(pairs, take, normal, kept, lanes)
                if still == 0.0:
                    break
                _cholesky(kept, damp, factor, p, lanes)
                for k in range(p):
                    for v in range(lanes):
                        step[k, v] = kept_gradient[k, v]
                _substitute(factor, step, p, lanes)
                for k in range(p):
                    for v in range(lanes):
                        trial[k, v] = beta[k, v] + step[k, v]
            for v in range(lanes):
                damp[v] = 0.0
            _cholesky(kept, damp, factor, p, lanes)
        _inverse(factor, p, step, lanes, start, out)
        pairs_end = p + pairs
        for k in range(p):
            for v in range(lanes):
                out[k, start + v] = beta[k, v]
        for v in range(lanes):
            out[pairs_end, start + v] = best[v]
            out[pairs_end + 1, start + v] = 1.0 - is_open[v]
            out[pairs_end + 2, start + v] = count[v]
