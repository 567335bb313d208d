"""What speaks for a fit: chosen voxels with their measured and fitted signals, residuals by contrast."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.core import Acquisition, DiffusionWeighted, Flag, Measurement, ParameterMaps
from fastqmri.estimators.screening import saturation_level
from fastqmri.physics.signal import DiffusionTensor, SignalModel
from fastqmri.physics.signal.diffusion import TENSOR_ELEMENTS, principal_direction
from fastqmri.report.colours import Floats
from fastqmri.report.quantities import display_unit, flag_name
from fastqmri.report.statistics import array

_CURVE_POINTS = 200
_MOST_RESIDUALS = 20_000
_TRUSTED_VOXELS = 8
_FLAGS_SHOWN = (Flag.MODEL_MISFIT, Flag.AT_BOUND, Flag.LOW_SNR, Flag.SATURATED)


@dataclass(frozen=True)
class Axis:
    """The abscissa that signals are drawn over.

    Attributes:
        label: with its unit.
        values: (contrast,) of the measured points.
        dense: (point,) of the fitted curve.
        model: the signal model at the dense points; None where only the measured points make sense.
        order: (contrast,) measured points from left to right.
    """

    label: str
    values: Floats
    dense: Floats
    model: SignalModel | None
    order: NDArray[np.int64]


@dataclass(frozen=True)
class Fit:
    """One voxel: what was measured and what the model says.

    Attributes:
        title: main parameter with its standard deviation.
        subtitle: where the voxel is and what its flags say.
        flagged: whether it carries any flag.
        x, measured: (contrast,) abscissa and signal, magnitudes of complex data.
        excluded: (contrast,) bool: samples that no fit should use (clipped, or not finite).
        curve_x, curve: (point,) fitted signal.
        stepped: whether the fitted signal exists at the measured points only.
    """

    title: str
    subtitle: str
    flagged: bool
    x: Floats
    measured: Floats
    excluded: NDArray[np.bool_]
    curve_x: Floats
    curve: Floats
    stepped: bool


def complete_parameters(maps: ParameterMaps, measurement: Measurement, model: SignalModel) -> Tensor | None:
    """Parameters of the model, (parameter, voxel) in float64; None where the maps do not hold them all.

    Known maps (B1) and nominal values stand in for what was not estimated.
    """
    voxels = maps.flags.numel()
    rows = []
    for parameter in model.parameters:
        if parameter.name in maps:
            rows.append(maps[parameter.name].value)
        elif parameter.name in measurement.known:
            rows.append(measurement.known[parameter.name])
        elif parameter.nominal is not None:
            rows.append(torch.full((voxels,), parameter.nominal))
        else:
            return None
    return torch.stack([row.detach().cpu().reshape(voxels).double() for row in rows])


def axis_of(model: SignalModel, direction: Tensor | None = None) -> Axis:
    """Abscissa of a model's signals, with a densely sampled copy of the model where one field varies.

    Args:
        model: whose acquisition says what varies.
        direction: (3,) principal diffusion direction, to sort gradient directions by their angle to it.
    """
    acquisition = model.acquisition
    values = array(acquisition.tensor(acquisition.varies))
    if isinstance(model, DiffusionTensor):
        order = _by_angle(acquisition, values, direction)
        ranks = np.empty(len(order))
        ranks[order] = np.arange(len(order))
        return Axis("volume, by b-value, then angle to the main direction", ranks, ranks[order], None, order)
    label, factor = {
        "flip_angle": ("flip angle (deg)", 180 / math.pi),
        "b_value": ("b-value (s/mm²)", 1.0),
    }.get(acquisition.varies, (f"{acquisition.varies.replace('_', ' ')} (ms)", 1e3))
    order = np.argsort(values, kind="stable")
    start = min(values.min(), 0.01 * values.max()) if acquisition.varies != "b_value" else 0.0
    dense = np.linspace(start, values.max(), _CURVE_POINTS)
    return Axis(label, values * factor, dense * factor, _resampled(model, dense), order)


def fits(maps: ParameterMaps, measurement: Measurement, model: SignalModel, main: str) -> tuple[str, list[Fit]]:
    """Abscissa label and fits of automatically chosen voxels; none where the model can't be evaluated."""
    x = complete_parameters(maps, measurement, model)
    if x is None:
        return "", []
    label, found, limit = "", [], clipping_level(measurement)
    for voxel in choose_voxels(maps, main):
        parameters = x[:, voxel : voxel + 1]
        axis = axis_of(model, _main_direction(model, parameters))
        label = axis.label
        found.append(_fit(maps, measurement, model, main, axis, voxel, parameters, limit))
    return label, found


def choose_voxels(maps: ParameterMaps, main: str) -> list[int]:
    """Flat indices of voxels worth a look: trusted ones over the range of ``main``, then one of each flag."""
    values = array(maps[main].value).reshape(-1)
    trusted = np.flatnonzero(array(maps.trusted).reshape(-1))
    by_value = trusted[np.argsort(values[trusted], kind="stable")]
    places = np.linspace(0.02, 0.98, min(_TRUSTED_VOXELS, len(by_value))) * (len(by_value) - 1)
    chosen = [int(by_value[i]) for i in np.round(places).astype(int)]
    flags = np.asarray(maps.flags.cpu()).reshape(-1)
    estimated = array(maps.estimated).reshape(-1) > 0
    for flag in _FLAGS_SHOWN:
        candidates = np.flatnonzero(estimated & ((flags & int(flag)) != 0))
        candidates = candidates[~np.isin(candidates, chosen)]
        if candidates.size:
            chosen.append(int(candidates[len(candidates) // 2]))
    return list(dict.fromkeys(chosen))


def excluded_samples(signal: Tensor, limit: float, non_negative: bool) -> NDArray[np.bool_]:
    """(contrast,) samples that are no measurement: clipped at ``limit``, not finite, or not positive."""
    value = array(signal.abs() if signal.is_complex() else signal)
    bad = ~np.isfinite(value) | (value >= limit)
    return np.asarray(bad | (value <= 0) if non_negative else bad)


def clipping_level(measurement: Measurement) -> float:
    """Value from which samples are clipped, given or found; infinity where none are."""
    if measurement.saturation is not None:
        return measurement.saturation
    found = saturation_level(measurement.data)
    return math.inf if found is None else found


def residuals_by_contrast(maps: ParameterMaps, measurement: Measurement, model: SignalModel) -> Floats | None:
    """Measured minus fitted signal, (contrast, voxel), of up to 20 000 trusted voxels spread over the mask.

    Contrasts are in ascending order of what varies. Complex data: difference of the magnitudes.
    """
    x = complete_parameters(maps, measurement, model)
    trusted = torch.from_numpy(np.flatnonzero(array(maps.trusted).reshape(-1)))
    if x is None or not len(trusted):
        return None
    chosen = trusted[:: max(1, len(trusted) // _MOST_RESIDUALS)]
    measured = measurement.data.detach().cpu().reshape(len(measurement.data), -1)[:, chosen]
    fitted = model.to("cpu")(x[:, chosen])
    if measured.is_complex() or fitted.is_complex():
        measured, fitted = measured.abs(), fitted.abs()
    order = np.argsort(array(model.acquisition.tensor(model.acquisition.varies)), kind="stable")
    return (array(measured) - array(fitted))[order]


def _fit(
    maps: ParameterMaps,
    measurement: Measurement,
    model: SignalModel,
    main: str,
    axis: Axis,
    voxel: int,
    parameters: Tensor,
    limit: float,
) -> Fit:
    signal = measurement.data.detach().cpu().reshape(len(measurement.data), -1)[:, voxel]
    flags = int(maps.flags.reshape(-1)[voxel])
    excluded = excluded_samples(signal, limit, model.non_negative and not signal.is_complex())
    curve = (axis.model or model)(parameters)[:, 0]
    curve_values = array(curve.abs() if curve.is_complex() else curve)
    one = maps[main]
    value, deviation = (float(t.reshape(-1)[voxel]) for t in (one.value, one.standard_deviation))
    unit = display_unit(one.parameter.unit, abs(value))
    where = ", ".join(str(int(i)) for i in np.unravel_index(voxel, tuple(maps.flags.shape) or (1,)))
    state = ", ".join(flag_name(f) for f in Flag if f and flags & f) or "trusted"
    error = f" ± {unit.show(deviation)}" if math.isfinite(deviation) else ""
    return Fit(
        title=f"{main} {unit.show(value).removesuffix(' ' + unit.text) if error else unit.show(value)}{error}",
        subtitle=f"voxel ({where}): {state}",
        flagged=bool(flags),
        x=axis.values,
        measured=array(signal.abs() if signal.is_complex() else signal),
        excluded=excluded,
        curve_x=axis.dense,
        curve=curve_values if axis.model is not None else curve_values[axis.order],
        stepped=axis.model is None,
    )


def _resampled(model: SignalModel, values: Floats) -> SignalModel:
    """The same model for an acquisition at other values of what varies."""
    acquisition = model.acquisition
    update: dict[str, object] = {acquisition.varies: tuple(values.tolist())}
    if isinstance(acquisition, DiffusionWeighted):
        update["b_vector"] = None
    dense = copy.copy(model)
    dense.acquisition = acquisition.model_copy(update=update)
    return dense


def _main_direction(model: SignalModel, parameters: Tensor) -> Tensor | None:
    if not isinstance(model, DiffusionTensor):
        return None
    return principal_direction(parameters[-len(TENSOR_ELEMENTS) :])[:, 0]


def _by_angle(acquisition: Acquisition, b_values: Floats, direction: Tensor | None) -> NDArray[np.int64]:
    """Order by shell (b-value to the nearest 50 s/mm²), then by angle to the main direction."""
    shell = np.round(b_values / 50)
    along = np.zeros_like(b_values)
    if direction is not None:
        along = np.abs(array(acquisition.tensor("b_vector") @ direction.double()))
    return np.lexsort((-along, shell))
