"""A picture of what is known of a phantom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from fastqmri.io import atomic
from fastqmri.report.colours import ENTRIES, scale_of

_COLUMNS = 4
_BRIGHTEST = 3
"""Times the median, to which windows reach at most."""


def write_truth_picture(
    path: Path, maps: Mapping[str, Tensor], units: Mapping[str, str], mask: Tensor
) -> None:
    """Write the maps, or the middle slice of each, as one PNG.

    Args:
        path: where, ending in ``.png``.
        maps: property -> (*voxels).
        units: property -> unit, for the titles.
        mask: (*voxels) bool; nothing is shown outside.

    Raises:
        OutputError: as `atomic`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    rows = -(-len(maps) // _COLUMNS)
    figure = Figure(figsize=(3.2 * _COLUMNS, 2.9 * rows), dpi=100, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    inside = _plane(mask)
    for place, (name, value) in enumerate(maps.items(), 1):
        shown = np.where(inside, _plane(value.double()), np.nan)
        values = shown[inside]
        if (values >= 0).all():  # or fluid would leave all else dark
            values = np.minimum(values, _BRIGHTEST * np.median(values))
        scale = scale_of(name, values)
        # the first entry of a table is black, for what is not valid
        shown = np.clip(shown, scale.low + (scale.high - scale.low) / ENTRIES, scale.high)
        panel = figure.add_subplot(rows, _COLUMNS, place)
        # x to the right, y upwards: seen from the head, the front on top
        picture = panel.imshow(
            shown.T, cmap=ListedColormap(scale.table), vmin=scale.low, vmax=scale.high, origin="lower"
        )
        panel.set_title(f"{name} [{units[name]}]", fontsize=9)
        panel.set_axis_off()
        figure.colorbar(picture, ax=panel, shrink=0.8).ax.tick_params(labelsize=7)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _plane(values: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return (values[..., values.shape[2] // 2] if values.ndim == 3 else values).numpy()
