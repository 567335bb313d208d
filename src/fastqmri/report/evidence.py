"""What speaks for a fit: chosen voxels with their measured and fitted signals, residuals by contrast."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.core import (
    Acquisition,
    DiffusionWeighted,
    Flag,
    Measurement,
    QuantitativeMagnetizationTransfer,
    Schedule,
    ZSpectrum,
)
from fastqmri.estimators.screening import saturation_level
from fastqmri.physics.signal import DiffusionTensor, SignalModel
from fastqmri.physics.signal.diffusion import TENSOR_ELEMENTS, principal_direction
from fastqmri.report.colours import Floats
from fastqmri.report.content import ReportContent
from fastqmri.report.quantities import display_unit, flag_name, plain, with_error
from fastqmri.report.statistics import Numbers, array

_CURVE_POINTS = 200
_MOST_RESIDUALS, _MOST_CANDIDATES = 20_000, 200_000
_TRUSTED_VOXELS = 8
_ABSCISSAE = {
    "flip_angle": ("flip angle (deg)", 180 / math.pi),
    "b_value": ("b-value (s/mm²)", 1.0),
    "gradient_amplitude": ("gradient amplitude (mT/m)", 1e3),
}
_OFFSETS: dict[type[Acquisition], str] = {
    QuantitativeMagnetizationTransfer: "offset (Hz)",
    ZSpectrum: "offset (ppm)",
}
_FLAGS_SHOWN = (Flag.MODEL_MISFIT, Flag.AT_BOUND, Flag.LOW_SNR, Flag.SATURATED)


@dataclass(frozen=True)
class Axis:
    """The abscissa that signals are drawn over.

    Attributes:
        label: with its unit.
        values: (contrast,) of the measured points.
        dense: (point,) of the fitted curve.
        model: the signal model at the dense points; None where signals exist at the measured points only.
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
        stepped: whether neighbouring points have no order that a line could follow.
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


@dataclass(frozen=True)
class Contrasts:
    """Residuals contrast by contrast, in noise standard deviations (or signal units where noise is unknown).

    Attributes:
        label: of what varies, with its unit.
        names: value of what varies, per contrast, ascending.
        residuals: (contrast, voxel) measured minus fitted; of the magnitudes for complex data.
    """

    label: str
    names: tuple[str, ...]
    residuals: Floats


def fits(content: ReportContent, numbers: Numbers) -> tuple[str, list[Fit]]:
    """Label of the abscissa, and fits of automatically chosen voxels; none where there is no estimate."""
    main = content.shown[0]
    chosen = choose_voxels(numbers, main)
    x = complete_parameters(content, chosen)
    if x is None or not chosen:
        return "", []
    limit = clipping_level(content.measurement)
    drawn = [_fit(content, voxel, x[:, i : i + 1], limit) for i, voxel in enumerate(chosen)]
    return axis_of(content.model, x[:, :1]).label, drawn


def choose_voxels(numbers: Numbers, main: str) -> list[int]:
    """Flat indices of voxels worth a look: trusted ones over the range of ``main``, then one of each flag."""
    values, flags = numbers.values(main).ravel(), numbers.flags.ravel()
    trusted = np.flatnonzero(numbers.trusted)
    trusted = trusted[:: 1 + len(trusted) // _MOST_CANDIDATES]
    by_value = trusted[np.argsort(values[trusted], kind="stable")]
    places = np.linspace(0.02, 0.98, min(_TRUSTED_VOXELS, len(by_value))) * (len(by_value) - 1)
    chosen = list(dict.fromkeys(by_value[np.round(places).astype(int)].tolist()))
    for flag in _FLAGS_SHOWN:
        candidates = np.flatnonzero(np.isfinite(values) & ((flags & int(flag)) != 0))
        candidates = candidates[~np.isin(candidates, chosen)]
        if candidates.size:
            chosen.append(int(candidates[len(candidates) // 2]))
    return chosen


def complete_parameters(content: ReportContent, voxels: Sequence[int] | NDArray[np.int64]) -> Tensor | None:
    """All parameters of the model at flat voxel indices, (parameter, voxel) in float64.

    Known maps (B1) and nominal values stand in for what was not estimated. None where the maps do not hold
    all the others.
    """
    index = torch.as_tensor(voxels, dtype=torch.long)
    rows = []
    for parameter in content.model.parameters:
        if parameter.name in content.maps:
            source = content.maps[parameter.name].value
        elif parameter.name in content.measurement.known:
            source = content.measurement.known[parameter.name]
        elif parameter.nominal is not None:
            source = torch.tensor(parameter.nominal).expand(content.maps.flags.shape)
        else:
            return None
        rows.append(source.detach().cpu().reshape(-1)[index].double())
    return torch.stack(rows)


def axis_of(model: SignalModel, x: Tensor) -> Axis:
    """Abscissa of a voxel's signals, with a densely sampled copy of the model where that makes sense.

    Args:
        model: whose acquisition says what varies.
        x: (parameter, 1) of the voxel; its main diffusion direction sorts gradient directions.
    """
    acquisition = model.acquisition
    values = array(_varied(acquisition))
    if isinstance(model, DiffusionTensor):
        order = _by_angle(acquisition, values, principal_direction(x[-len(TENSOR_ELEMENTS) :])[:, 0])
        ranks = np.empty(len(order))
        ranks[order] = np.arange(len(order))
        return Axis(
            "volume, by b-value, then by angle to the main direction", ranks, ranks[order], None, order
        )
    label, factor = _abscissa(acquisition)
    order = np.argsort(values, kind="stable")
    if _is_numbered(acquisition) or not _is_pointwise(model, x):
        return Axis(label, values * factor, values[order] * factor, None, order)
    start = 0.0 if acquisition.varies == "b_value" else min(values.min(), 0.01 * values.max())
    dense = np.linspace(start, values.max(), _CURVE_POINTS)
    return Axis(label, values * factor, dense * factor, _resampled(model, dense), order)


def contrast_names(acquisition: Acquisition) -> tuple[str, list[str]]:
    """Label of what varies, with its unit, and its value for every contrast."""
    label, factor = _abscissa(acquisition)
    values = array(_varied(acquisition)) * factor
    return label, [plain(float(f"{value:.4g}")) for value in values]


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


def residuals_by_contrast(content: ReportContent, numbers: Numbers) -> Contrasts | None:
    """Residuals of up to 20 000 trusted voxels spread over the mask; None where there are none."""
    trusted = np.flatnonzero(numbers.trusted)
    chosen = trusted[:: 1 + len(trusted) // _MOST_RESIDUALS]
    x = complete_parameters(content, chosen)
    if x is None or not len(chosen):
        return None
    measured, fitted = _signals(content.measurement, chosen), content.model(x)
    if fitted.is_complex():
        measured, fitted = measured.abs(), fitted.abs()
    label, names = contrast_names(content.measurement.acquisition)
    order = np.argsort(array(_varied(content.measurement.acquisition)), kind="stable")
    residuals = (array(measured) - array(fitted))[order] / (numbers.noise or 1.0)
    return Contrasts(label, tuple(names[i] for i in order), residuals)


def _fit(content: ReportContent, voxel: int, x: Tensor, limit: float) -> Fit:
    model, main = content.model, content.maps[content.shown[0]]
    axis = axis_of(model, x)
    signal = _signals(content.measurement, [voxel])[:, 0]
    curve = (axis.model or model)(x)[:, 0]
    drawn = array(curve.abs() if curve.is_complex() else curve)
    flags = int(content.maps.flags.reshape(-1)[voxel])
    value, deviation = (float(t.reshape(-1)[voxel]) for t in (main.value, main.standard_deviation))
    where = ", ".join(str(int(i)) for i in np.unravel_index(voxel, tuple(content.maps.flags.shape) or (1,)))
    state = ", ".join(flag_name(flag) for flag in Flag if flag and flags & flag) or flag_name(Flag.OK)
    return Fit(
        title=f"{main.parameter.name} {with_error(value, deviation, display_unit(main.parameter))}",
        subtitle=f"voxel ({where}): {state}",
        flagged=bool(flags),
        x=axis.values,
        measured=array(signal.abs() if signal.is_complex() else signal),
        excluded=excluded_samples(signal, limit, model.non_negative and not signal.is_complex()),
        curve_x=axis.dense,
        curve=drawn if axis.model is not None else drawn[axis.order],
        stepped=isinstance(model, DiffusionTensor),
    )


def _signals(measurement: Measurement, voxels: Sequence[int] | NDArray[np.int64]) -> Tensor:
    """Measured signals (contrast, voxel) at flat indices."""
    index = torch.as_tensor(voxels, dtype=torch.long)
    return measurement.data.detach().cpu().reshape(len(measurement.data), -1)[:, index]


def _abscissa(acquisition: Acquisition) -> tuple[str, float]:
    """Label of what varies, and the factor to the unit in it."""
    if _is_numbered(acquisition):
        return "image", 1.0
    name = acquisition.varies
    if type(acquisition) in _OFFSETS:
        return _OFFSETS[type(acquisition)], 1.0
    return _ABSCISSAE.get(name, (f"{name.replace('_', ' ')} (ms)", 1e3))


def _is_numbered(acquisition: Acquisition) -> bool:
    """Whether the images have no abscissa but their order."""
    return isinstance(acquisition, Schedule) or not acquisition.continuous


def _resampled(model: SignalModel, values: Floats) -> SignalModel:
    """The same model for an acquisition at other values of what varies."""
    acquisition = model.acquisition
    update: dict[str, object] = {acquisition.varies: tuple(values.tolist())}
    if isinstance(acquisition, DiffusionWeighted):
        update["b_vector"] = None
    dense = copy.copy(model)
    dense.acquisition = acquisition.model_copy(update=update)
    return dense


def _is_pointwise(model: SignalModel, x: Tensor) -> bool:
    """Whether a contrast depends on its own acquisition value alone: reversing these reverses the signals.

    In an echo train every echo depends on those before, and a curve between them would mean nothing.
    """
    turned = _resampled(model, array(_varied(model.acquisition))[::-1])
    return bool(torch.allclose(turned(x).flip(0), model(x)))


def _by_angle(acquisition: Acquisition, b_values: Floats, direction: Tensor) -> NDArray[np.int64]:
    """Order by shell (b-value to the nearest 50 s/mm²), then by angle to the main direction."""
    along = np.abs(array(acquisition.tensor("b_vector") @ direction.double()))
    return np.lexsort((-along, np.round(b_values / 50)))


def _varied(acquisition: Acquisition) -> Tensor:
    """(contrast,) what the images differ in; where much varies at once, their number."""
    if _is_numbered(acquisition):
        return torch.arange(1, acquisition.contrasts + 1, dtype=torch.float64)
    return acquisition.tensor(acquisition.varies)
