"""Phase images in radians, whatever steps the scanner counted in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fastqmri.core import PlausibilityError

_SLACK = 1.002
"""How far rounding may carry a phase beyond half a turn."""
_FULL = 0.9
"""Share of a turn that the phases of a whole scan, its noise included, always span."""
_STEPS = 4096


def phase_in_radians(phase: Tensor, name: str, *, units: str | None = None) -> tuple[Tensor, str | None]:
    """Phase in radians, its unit told by the range of the data.

    Known ranges are radians around zero or from zero to a full turn, 12-bit steps around zero or from zero,
    and a full turn in any other symmetric scale.

    Args:
        phase: of all images of a scan together.
        name: of the (first) file, for messages.
        units: the sidecar's ``Units``; "rad" lets the data span less than a turn.

    Returns:
        Phase in rad, same shape, and a note if it was rescaled.

    Raises:
        PlausibilityError: the range is none of these.
    """
    finite = phase[torch.isfinite(phase)]
    low, high = (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 0.0)
    in_radians = low >= -_SLACK * math.pi and high <= 2 * _SLACK * math.pi
    if in_radians and (units == "rad" or high - low >= _FULL * 2 * math.pi):
        return phase, None
    if units != "rad":
        scale, offset = _scale(low, high)
        if scale:
            note = f"{name}: phase of {low:.6g} to {high:.6g} was read as one turn and rescaled to radians."
            return phase * scale + offset, note
    raise PlausibilityError(
        f"{name} has phases from {low:.6g} to {high:.6g}{f' and Units {units!r}' if units else ''}",
        "this is neither radians nor a known scale of a full turn.",
        'Convert the phase to radians and write "Units": "rad" into its sidecar.',
    )


def _scale(low: float, high: float) -> tuple[float, float]:
    """Factor and offset to radians; a factor of zero where the range is not known."""
    full = 2 * _STEPS
    if low >= -_STEPS and high <= _STEPS and high - low >= _FULL * full:
        return math.pi / _STEPS, 0.0
    if low >= 0 and _FULL * _STEPS <= high <= _STEPS:
        return 2 * math.pi / _STEPS, -math.pi
    largest = max(abs(low), abs(high))
    if low < 0 < high and abs(low + high) <= 0.01 * largest:
        return math.pi / largest, 0.0
    return 0.0, 0.0
