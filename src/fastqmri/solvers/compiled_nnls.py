"""Compiled non-negative least squares of many small problems whose matrix depends on one unknown angle-like number.

Normal equations with a last correction by the residual itself; scipy's solver is the oracle.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

NONE, FACTOR, CORNER, GENERALISED, DISCREPANCY = range(5)
_PIVOT = 1e-13
_GOLDEN = 0.6180339887498949
_TENTH = 0.2 * math.log(10.0)  # of a decade of μ, in ln μ²
_MATH = {"reassoc", "contract", "arcp", "nsz"}


@njit(fastmath=_MATH, error_model="numpy")
def _matrix(values, slopes, step, first, place, out):
    """The matrix at ``place``, by cubic Hermite interpolation of the table."""
    at = min(max((place - first) / step, 0.0), values.shape[0] - 1.0)
    k = min(int(at), values.shape[0] - 2)
    t = at - k
    a, b = (1 + 2 * t) * (1 - t) ** 2, t * t * (3 - 2 * t)
    c, d = step * t * (1 - t) ** 2, step * t * t * (t - 1)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = (
                a * values[k, i, j] + b * values[k + 1, i, j] + c * slopes[k, i, j] + d * slopes[k + 1, i, j]
            )


@njit(fastmath=_MATH, error_model="numpy")
def _gram(matrix, data, gram, moments):
    n = matrix.shape[1]
    gram[:] = 0.0
    moments[:] = 0.0
    for i in range(matrix.shape[0]):
        row = matrix[i]
        for j in range(n):
            value = row[j]
            moments[j] += value * data[i]
            for k in range(n):
                gram[j, k] += value * row[k]


@njit(fastmath=_MATH, error_model="numpy")
def _factor(gram, ridge, passive, count, lower):
    """Cholesky factor of the passive rows; the number of rows that are independent."""
    for i in range(count):
        for j in range(i + 1):
            value = gram[passive[i], passive[j]]
            if i == j:
                value += ridge
            size = value
            for k in range(j):
                value -= lower[i, k] * lower[j, k]
            if i == j:
                if value <= _PIVOT * size:
                    return i
                lower[i, i] = math.sqrt(value)
            else:
                lower[i, j] = value / lower[j, j]
    return count


@njit(fastmath=_MATH, error_model="numpy")
def _substitute(lower, count, right):
    for i in range(count):
        value = right[i]
        for k in range(i):
            value -= lower[i, k] * right[k]
        right[i] = value / lower[i, i]
    for i in range(count - 1, -1, -1):
        value = right[i]
        for k in range(i + 1, count):
            value -= lower[k, i] * right[k]
        right[i] = value / lower[i, i]


@njit(fastmath=_MATH, error_model="numpy")
def _misfit(matrix, data, x, residual):
    total = 0.0
    for i in range(matrix.shape[0]):
        value = data[i]
        for j in range(matrix.shape[1]):
            value -= matrix[i, j] * x[j]
        residual[i] = value
        total += value * value
    return total


@njit(fastmath=_MATH, error_model="numpy")
def _solve(matrix, data, gram, moments, ridge, x, active, passive, lower, trial, residual):
    """Lawson-Hanson from the passive set that x has (its non-zeros). Returns the sum of squared residuals."""
    n = x.shape[0]
    count = 0
    for j in range(n):
        active[j] = not x[j] > 0.0
        if x[j] > 0.0:
            passive[count] = j
            count += 1
    warm = count > 0
    scale = 0.0
    for j in range(n):
        scale = max(scale, abs(moments[j]))
    for _ in range(6 * n):
        if not warm:
            best, chosen = 1e-12 * scale, -1
            for j in range(n):
                if active[j]:
                    value = moments[j] - ridge * x[j]
                    for k in range(count):
                        value -= gram[j, passive[k]] * x[passive[k]]
                    if value > best:
                        best, chosen = value, j
            if chosen < 0:
                break
            passive[count] = chosen
            active[chosen] = False
            count += 1
        for _inner in range(2 * n):
            good = _factor(gram, ridge, passive, count, lower)
            if good < count:  # a column that the others make up: leave it out for good
                left_out = passive[good]
                for k in range(good, count - 1):
                    passive[k] = passive[k + 1]
                count -= 1
                x[left_out] = 0.0
                if not warm and good == count:
                    active[left_out] = False  # not to be chosen again
                    break
                active[left_out] = True
                continue
            for k in range(count):
                trial[k] = moments[passive[k]]
            _substitute(lower, count, trial)
            share, blocked = 1.0, False
            for k in range(count):
                if trial[k] <= 0.0:
                    old = x[passive[k]]
                    step = old / (old - trial[k]) if old > trial[k] else 0.0
                    share = min(share, step)
                    blocked = True
            if not blocked:
                for k in range(count):
                    x[passive[k]] = trial[k]
                break
            place = 0
            for k in range(count):
                j = passive[k]
                x[j] += share * (trial[k] - x[j])
                if x[j] > 1e-14 * scale * 1e-6 and not (trial[k] <= 0.0 and share >= 1.0):
                    passive[place] = j
                    place += 1
                else:
                    x[j] = 0.0
                    active[j] = True
            count = place
            if count == 0:
                break
        warm = False
    if count and _factor(gram, ridge, passive, count, lower) == count:
        _misfit(matrix, data, x, residual)
        for k in range(count):
            value = -ridge * x[passive[k]]
            for i in range(matrix.shape[0]):
                value += matrix[i, passive[k]] * residual[i]
            trial[k] = value
        _substitute(lower, count, trial)
        fits = True
        for k in range(count):
            fits = fits and x[passive[k]] + trial[k] > 0.0
        if fits:
            for k in range(count):
                x[passive[k]] += trial[k]
    return _misfit(matrix, data, x, residual)


@njit(fastmath=_MATH, error_model="numpy")
def _freedom(gram, ridge, samples, lower, passive, trial):
    """Samples less the trace of the influence matrix of the ridge alone."""
    n = gram.shape[0]
    for j in range(n):
        passive[j] = j
    if _factor(gram, ridge, passive, n, lower) < n:
        return 1e-300
    total = 0.0
    for j in range(n):  # trace of the inverse: squares of the inverse factor
        trial[:n] = 0.0
        trial[j] = 1.0
        for i in range(j, n):
            value = trial[i]
            for k in range(j, i):
                value -= lower[i, k] * trial[k]
            trial[i] = value / lower[i, i]
            total += trial[i] * trial[i]
    return samples - (n - ridge * total)


@njit(fastmath=_MATH, error_model="numpy")
def _bend(p, q, r):
    """Curvature of the circle through three points (Menger), signed."""
    a = math.sqrt((q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2)
    b = math.sqrt((r[0] - q[0]) ** 2 + (r[1] - q[1]) ** 2)
    c = math.sqrt((p[0] - r[0]) ** 2 + (p[1] - r[1]) ** 2)
    twice = p[0] * q[1] + q[0] * r[1] + r[0] * p[1] - p[0] * r[1] - q[0] * p[1] - r[0] * q[1]
    return 2 * twice / max(a * b * c, 1e-300)


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def distributions(
    data,
    weights,
    values,
    slopes,
    step,
    first,
    places,
    search,
    rule,
    level,
    begin,
    end,
    out,
    ridges,
    found,
    curves,
    costs,
):
    """Non-negative amplitudes of every column of the matrix, for every voxel.

    Args:
        data: (voxel, sample).
        weights: (voxel, sample) square roots of the weights, or None.
        values: (bin, sample, column) table of matrices.
        slopes: their derivative by the place.
        step, first: of the table's places.
        places: (voxel) known places, or NaN where they are looked for.
        search: (node) ascending places to begin the search with.
        rule: how much the amplitudes are held small: NONE; FACTOR, so that the misfit is ``level`` times the least;
            CORNER of the L-curve; GENERALISED cross-validation; DISCREPANCY, so that the misfit is ``level`` a sample.
        level: see ``rule``.
        begin, end: voxels of this call.
        out: (voxel, column) amplitudes.
        ridges: (voxel) chosen weights μ² of Σ x².
        found: (voxel) places.
        curves: (voxel) second derivative of the misfit by the place; NaN where that is known.
        costs: (voxel) sums of squared residuals.
    """
    samples, n = values.shape[1], values.shape[2]
    matrix, gram = np.empty((samples, n)), np.empty((n, n))
    moments, x, least, trial = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    lower, active = np.empty((n, n)), np.empty(n, np.bool_)
    passive, residual, y = np.empty(n, np.int64), np.empty(samples), np.empty(samples)
    points = np.zeros((3, 2))
    for v in range(begin, end):
        for i in range(samples):
            y[i] = data[v, i] * (1.0 if weights is None else weights[v, i])
        weight = None if weights is None else weights[v]
        place = places[v]
        if math.isnan(place):
            # the node of least misfit, then a golden section between its neighbours
            node, best = 0, np.inf
            x[:] = 0.0
            for k in range(search.shape[0]):
                cost = _at(
                    search[k],
                    values,
                    slopes,
                    step,
                    first,
                    weight,
                    y,
                    matrix,
                    gram,
                    moments,
                    x,
                    active,
                    passive,
                    lower,
                    trial,
                    residual,
                )
                if cost < best:
                    node, best = k, cost
            a, b = search[max(node - 1, 0)], search[min(node + 1, search.shape[0] - 1)]
            p, q = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
            at_p = _at(
                p,
                values,
                slopes,
                step,
                first,
                weight,
                y,
                matrix,
                gram,
                moments,
                x,
                active,
                passive,
                lower,
                trial,
                residual,
            )
            at_q = _at(
                q,
                values,
                slopes,
                step,
                first,
                weight,
                y,
                matrix,
                gram,
                moments,
                x,
                active,
                passive,
                lower,
                trial,
                residual,
            )
            while b - a > 1e-5 * (search[-1] - search[0]):
                if at_p < at_q:
                    b, q, at_q = q, p, at_p
                    p = b - _GOLDEN * (b - a)
                    at_p = _at(
                        p,
                        values,
                        slopes,
                        step,
                        first,
                        weight,
                        y,
                        matrix,
                        gram,
                        moments,
                        x,
                        active,
                        passive,
                        lower,
                        trial,
                        residual,
                    )
                else:
                    a, p, at_p = p, q, at_q
                    q = a + _GOLDEN * (b - a)
                    at_q = _at(
                        q,
                        values,
                        slopes,
                        step,
                        first,
                        weight,
                        y,
                        matrix,
                        gram,
                        moments,
                        x,
                        active,
                        passive,
                        lower,
                        trial,
                        residual,
                    )
            place = (a + b) / 2
            if node == search.shape[0] - 1 and search[-1] - place < 2e-5 * (search[-1] - search[0]):
                place = search[-1]
            wide = 0.02 * (search[-1] - search[0])
            middle = min(max(place, search[0] + wide), search[-1] - wide)
            three = 0.0
            for sign in range(-1, 2):
                cost = _at(
                    middle + sign * wide,
                    values,
                    slopes,
                    step,
                    first,
                    weight,
                    y,
                    matrix,
                    gram,
                    moments,
                    x,
                    active,
                    passive,
                    lower,
                    trial,
                    residual,
                )
                three += cost * (-2.0 if sign == 0 else 1.0)
            curves[v] = three / wide**2
        else:
            curves[v] = np.nan
        x[:] = 0.0
        bottom = _at(
            place,
            values,
            slopes,
            step,
            first,
            weight,
            y,
            matrix,
            gram,
            moments,
            x,
            active,
            passive,
            lower,
            trial,
            residual,
        )
        least[:] = x
        size = 0.0
        for j in range(n):
            size = max(size, gram[j, j])
        low, high = math.log(1e-10 * size), math.log(1e2 * size)
        ridge, cost = 0.0, bottom
        if rule in (FACTOR, DISCREPANCY):
            target = level * bottom if rule == FACTOR else level * level * samples
            if cost < target and bottom > 1e-26 * size * (1.0 + moments[0] * moments[0]):
                for _ in range(60):
                    middle = 0.5 * (low + high)
                    cost = _solve(
                        matrix, y, gram, moments, math.exp(middle), x, active, passive, lower, trial, residual
                    )
                    if cost < target:
                        low = middle
                    else:
                        high = middle
                    if high - low < 1e-9:
                        break
                ridge = math.exp(0.5 * (low + high))
        elif rule == GENERALISED:
            best, steps = np.inf, 40
            for k in range(steps + 1):
                at = low + (high - low) * k / steps
                cost = _solve(
                    matrix, y, gram, moments, math.exp(at), x, active, passive, lower, trial, residual
                )
                score = cost / _freedom(gram, math.exp(at), samples, lower, passive, trial) ** 2
                if score < best:
                    best, middle = score, at
            a, b = middle - (high - low) / steps, middle + (high - low) / steps
            while b - a > 1e-6:
                p, q = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
                cost = _solve(
                    matrix, y, gram, moments, math.exp(p), x, active, passive, lower, trial, residual
                )
                at_p = cost / _freedom(gram, math.exp(p), samples, lower, passive, trial) ** 2
                cost = _solve(
                    matrix, y, gram, moments, math.exp(q), x, active, passive, lower, trial, residual
                )
                at_q = cost / _freedom(gram, math.exp(q), samples, lower, passive, trial) ** 2
                if at_p < at_q:
                    b = q
                else:
                    a = p
            ridge = math.exp(0.5 * (a + b))
        elif rule == CORNER:
            # curvature over points a tenth of a decade of μ apart: finer, and the kinks where an amplitude comes or
            # goes outdo the corner; below the misfit's first percent the curve stands still
            best, chosen, before, after = -np.inf, low, 0.0, 0.0
            last, count = 0.0, 0
            at = low
            while at <= high:
                cost = _solve(
                    matrix, y, gram, moments, math.exp(at), x, active, passive, lower, trial, residual
                )
                if cost > 1.01 * bottom:
                    total = 0.0
                    for j in range(n):
                        total += x[j] * x[j]
                    for k in range(2):
                        points[0, k], points[1, k] = points[1, k], points[2, k]
                    points[2, 0], points[2, 1] = math.log(cost), math.log(max(total, 1e-300))
                    count += 1
                    if count >= 3:
                        bend = _bend(points[0], points[1], points[2])
                        if bend > best:
                            best, chosen, before, after = bend, at - _TENTH, last, -np.inf
                        elif after == -np.inf:
                            after = bend
                        last = bend
                at += _TENTH
            sag = before - 2 * best + after
            if count >= 5 and sag < 0.0 and before > -np.inf and after > -np.inf:
                chosen += 0.5 * _TENTH * (before - after) / sag
            ridge = math.exp(chosen)
        x[:] = least
        if ridge > 0.0:
            cost = _solve(matrix, y, gram, moments, ridge, x, active, passive, lower, trial, residual)
        out[v] = x
        ridges[v] = ridge
        found[v] = place
        costs[v] = cost


@njit(fastmath=_MATH, error_model="numpy")
def _at(
    place,
    values,
    slopes,
    step,
    first,
    weight,
    y,
    matrix,
    gram,
    moments,
    x,
    active,
    passive,
    lower,
    trial,
    residual,
):
    """Misfit of the plain solution at a place; the matrix and its products stay behind."""
    _matrix(values, slopes, step, first, place, matrix)
    if weight is not None:
        for i in range(matrix.shape[0]):
            for j in range(matrix.shape[1]):
                matrix[i, j] *= weight[i]
    _gram(matrix, y, gram, moments)
    return _solve(matrix, y, gram, moments, 0.0, x, active, passive, lower, trial, residual)


@njit(nogil=True, cache=True, fastmath=_MATH, error_model="numpy")
def variances(amplitudes, ridges, places, weights, values, slopes, step, first, gradients, begin, end, out):
    """gᵀ C g per unit noise variance, C = H⁻¹ G H⁻¹ among the amplitudes that are not zero, H = G + μ².

    Args:
        amplitudes: (voxel, column).
        ridges, places, weights, values, slopes, step, first: as in `distributions`.
        gradients: (quantity, column, voxel or 1).
        begin, end: voxels of this call.
        out: (quantity, voxel).
    """
    samples, n = values.shape[1], values.shape[2]
    matrix, gram, lower = np.empty((samples, n)), np.empty((n, n)), np.empty((n, n))
    moments, y, right = np.empty(n), np.zeros(samples), np.empty(n)
    passive = np.empty(n, np.int64)
    for v in range(begin, end):
        _matrix(values, slopes, step, first, places[v], matrix)
        if weights is not None:
            for i in range(samples):
                for j in range(n):
                    matrix[i, j] *= weights[v, i]
        _gram(matrix, y, gram, moments)
        count = 0
        for j in range(n):
            if amplitudes[v, j] > 0.0:
                passive[count] = j
                count += 1
        good = _factor(gram, ridges[v], passive, count, lower) == count
        column = v if gradients.shape[2] > 1 else 0
        for q in range(gradients.shape[0]):
            for k in range(count):
                right[k] = gradients[q, passive[k], column]
            total = np.inf
            if good:
                _substitute(lower, count, right)
                total = 0.0
                for i in range(count):
                    for k in range(count):
                        total += right[i] * gram[passive[i], passive[k]] * right[k]
            out[q, v] = total
