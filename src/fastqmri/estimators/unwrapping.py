"""Field maps without wraps between neighbouring voxels."""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from fastqmri.core import Measurement, ParameterMaps
from fastqmri.physics.signal import PhaseEvolution, SignalModel
from fastqmri.physics.signal.echoes import closest_echoes


def between_neighbours(maps: ParameterMaps, measurement: Measurement, model: SignalModel) -> ParameterMaps:
    """Shift B0 by whole turns of the closest echoes where neighbours differ by such.

    What stays unknown is one number for every connected region of the mask: it is placed nearest to zero, where
    shimming puts it.

    Source: Herráez 2002; Abdul-Rahman 2007.

    Args:
        maps: with B0 from `PhaseEvolution`.
        measurement: they were made from.
        model: they were made with.
    """
    assert isinstance(model, PhaseEvolution)
    times = model.acquisition.echo_time
    first, second = closest_echoes(times)
    gap = times[second] - times[first]
    b0 = maps["B0"].value
    inside = torch.isfinite(b0)
    try:
        turns = _turns((2 * math.pi * gap * b0).double(), inside)
    except ImportError:
        note = (
            f"Wraps between neighbours were left in, every {1 / gap:.0f} Hz: removing them needs scikit-image "
            "(pip install fastqmri[unwrap])."
        )
        return dataclasses.replace(maps, notes=(*maps.notes, note))
    shifted = turns != 0
    note = (
        f"Wraps between neighbours were removed: {int(shifted.sum())} voxels were moved by multiples of "
        f"{1 / gap:.0f} Hz. Each connected region of the mask lies nearest to zero, and may be off by such a multiple."
    )
    value = maps.value.clone()
    data = measurement.data[:, shifted]
    data = data.to(torch.complex128)
    line = model.line(data, turns=turns[shifted].to(data.real))
    for name, row in zip(("B0", "phase"), line, strict=True):
        value[maps.names.index(name)][shifted] = row.to(value)
    return dataclasses.replace(maps, value=value, notes=(*maps.notes, note))


def _turns(phase: Tensor, inside: Tensor) -> Tensor:
    """(*voxels) whole turns to add to ``phase`` (*voxels) in rad; zero outside."""
    import numpy as np
    from skimage.measure import label
    from skimage.restoration import unwrap_phase

    shape = phase.shape
    sides = [side for side in shape if side > 1] or [1]
    wrapped = np.where(inside.numpy(), phase.numpy(), 0.0).reshape(sides)
    mask = inside.numpy().reshape(sides)
    turns = np.zeros(sides)
    if mask.sum() < 2 or not 2 <= len(sides) <= 3:
        return torch.zeros(shape, dtype=phase.dtype)
    smooth = unwrap_phase(np.ma.masked_array(wrapped, ~mask), rng=0)
    turns[mask] = np.round((np.ma.getdata(smooth) - wrapped)[mask] / (2 * math.pi))
    regions = label(mask, connectivity=1)
    for region in range(1, int(regions.max()) + 1):
        there = regions == region
        middle = float(np.median((wrapped + 2 * math.pi * turns)[there]))
        turns[there] -= round(middle / (2 * math.pi))
    return torch.from_numpy(turns).reshape(shape)
