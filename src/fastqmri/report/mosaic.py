"""Which slices of a volume are shown, how they are turned, and how they are laid out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.report.colours import Floats

MOST_SLICES = 9
# A map of pure noise costs about a byte a pixel, and a report holds a dozen of them.
MOST_PIXELS = 250_000
_WIDTH_TO_HEIGHT = 2.2
_MARGIN = 2
_GAP = 1
_WORLD = (("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))
_PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True)
class View:
    """A volume seen as a stack of pictures.

    Attributes:
        order: array axes in the order column, row, slice.
        flipped: whether the (column, row) axes run against the array.
        aspect: height of a pixel over its width.
        plane: ``axial``, ``coronal``, ``sagittal``, or empty where the orientation is unknown.
        edges: patient directions at the (left, top) edge of each picture, or empty.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool]
    aspect: float
    plane: str = ""
    edges: tuple[str, ...] = ()

    def stack(self, volume: NDArray[np.generic]) -> NDArray[np.generic]:
        """(slice, row, column) of a volume of any number of voxel axes."""
        turned = np.transpose(three_axes(volume), self.order[::-1])
        return turned[:, :: -1 if self.flipped[1] else 1, :: -1 if self.flipped[0] else 1]


_AS_STORED = View((1, 0, 2), (False, False), 1.0)


@dataclass(frozen=True)
class Mosaic:
    """Slices side by side, cut to what holds data.

    Attributes:
        view: how slices are turned.
        slices: shown ones, counted along the slice axis of the array from 0.
        depth: number of slices of the volume.
        rows, columns: cut of each slice.
        across: slices in a row of the mosaic.
        stride: every how many-th voxel is shown (1 but for very large slices).
    """

    view: View
    slices: tuple[int, ...]
    depth: int
    rows: slice
    columns: slice
    across: int
    stride: int

    def arrange(self, volume: NDArray[np.generic], fill: float) -> Floats:
        """(row, column) picture of a volume (*voxels); ``fill`` between the slices."""
        return tiled(self._cut(volume, self.slices), self.across, fill)

    def arrange_many(self, volumes: Iterable[NDArray[np.generic]], fill: float) -> Floats:
        """(row, column) picture of the middle one of the shown slices of several volumes (*voxels)."""
        middle = self.slices[len(self.slices) // 2]
        tiles = np.concatenate([self._cut(volume, (middle,)) for volume in volumes])
        ratio = tiles.shape[2] / (tiles.shape[1] * self.view.aspect)
        return tiled(tiles, _across(len(tiles), ratio), fill)

    def _cut(self, volume: NDArray[np.generic], slices: tuple[int, ...]) -> Floats:
        stack = self.view.stack(volume)[list(slices), self.rows, self.columns]
        return stack[:, :: self.stride, :: self.stride].astype(np.float64)

    @property
    def description(self) -> str:
        """One phrase for captions: which slices, seen how."""
        numbers = ", ".join(str(i) for i in self.slices)
        many = "slices" if len(self.slices) > 1 else "slice"
        shown = f"{self.view.plane or 'array'} {many} {numbers} of {self.depth} (counted from 0)"
        if self.view.edges:
            left, top = self.view.edges
            return f"{shown}; patient {left} at the left edge, {top} at the top"
        return f"{shown}; orientation unknown, shown as stored"


def plan(inside: NDArray[np.bool_], affine: Tensor | None) -> Mosaic:
    """Lay out up to nine slices that together show the voxels ``inside`` (*voxels) bool.

    Args:
        inside: voxels worth showing; all are taken where there are none.
        affine: (4, 4) voxel to world in mm; None or identity shows the array as stored.
    """
    worth = inside if inside.any() else np.ones_like(inside)
    view = _view(three_axes(worth).shape, affine)
    stack = view.stack(worth)
    rows, columns = (_extent(np.asarray(stack.any(axis=(0, other)))) for other in (2, 1))
    height, width = rows.stop - rows.start, columns.stop - columns.start
    most = max(1, min(MOST_SLICES, MOST_PIXELS // (height * width)))
    chosen = _informative(stack.sum(axis=(1, 2)), most)
    across = _across(len(chosen), width / (height * view.aspect))
    stride = math.ceil(math.sqrt(max(1.0, height * width / MOST_PIXELS)))
    return Mosaic(view, chosen, len(stack), rows, columns, across, stride)


def tiled(tiles: Floats, across: int, fill: float) -> Floats:
    """Pictures (tile, row, column) side by side, ``across`` in a row, with a gap of one pixel."""
    height, width = tiles.shape[1:]
    down = math.ceil(len(tiles) / across)
    picture = np.full((down * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP), fill)
    for i, tile in enumerate(tiles):
        top, left = i // across * (height + _GAP), i % across * (width + _GAP)
        picture[top : top + height, left : left + width] = tile
    return picture


def three_axes(volume: NDArray[np.generic]) -> NDArray[np.generic]:
    """A volume of any number of voxel axes as one of three; further axes join the third."""
    if volume.ndim == 1:  # a list of voxels reads better lying than standing
        return volume.reshape(1, -1, 1)
    return volume.reshape(*volume.shape[:2], -1) if volume.ndim else volume.reshape(1, 1, 1)


def _view(shape: tuple[int, ...], affine: Tensor | None) -> View:
    """Radiological display of the slices that were acquired; array axes where nothing is known."""
    if affine is None:
        return _AS_STORED
    matrix = np.asarray(affine.detach().cpu(), dtype=np.float64)[:3, :3]
    sizes = np.linalg.norm(matrix, axis=0)
    if np.allclose(matrix, np.eye(3)) or not (np.isfinite(matrix).all() and (sizes > 0).all()):
        return _AS_STORED
    array_axis = _closest_axes(matrix / sizes)
    through = _slice_direction([shape[a] for a in array_axis], [sizes[a] for a in array_axis])
    across, down = (w for w in range(3) if w != through)
    order = (array_axis[across], array_axis[down], array_axis[through])
    # Right, anterior and superior belong at the left and top edge: there the world axes end.
    flipped = (matrix[across, order[0]] > 0, matrix[down, order[1]] > 0)
    return View(
        order,
        (bool(flipped[0]), bool(flipped[1])),
        float(sizes[order[1]] / sizes[order[0]]),
        _PLANES[through],
        (_WORLD[across][1], _WORLD[down][1]),
    )


def _closest_axes(directions: Floats) -> tuple[int, int, int]:
    """Array axis that runs along each world axis, given unit columns (world, array)."""
    remaining = np.abs(directions)
    found = [0, 0, 0]
    for _ in range(3):
        world, array = np.unravel_index(int(remaining.argmax()), remaining.shape)
        found[int(world)] = int(array)
        remaining[world, :] = remaining[:, array] = -1.0
    return found[0], found[1], found[2]


def _slice_direction(counts: list[int], sizes: list[float]) -> int:
    """World axis to step along: where there is one slice, else across thick slices, else axial."""
    if 1 in counts:
        return max(range(3), key=lambda w: (counts[w] == 1, sizes[w]))
    thickest = int(np.argmax(sizes))
    return thickest if sizes[thickest] > 1.2 * sorted(sizes)[1] else 2


def _extent(occupied: NDArray[np.bool_]) -> slice:
    where = np.flatnonzero(occupied)
    return slice(max(int(where[0]) - _MARGIN, 0), min(int(where[-1]) + 1 + _MARGIN, len(occupied)))


def _informative(counts: NDArray[np.int64], most: int) -> tuple[int, ...]:
    """Slices spread evenly over those that hold at least a fifth of the fullest one's voxels."""
    full = np.flatnonzero(counts >= max(0.2 * counts.max(), 1))
    if len(full) <= most:
        return tuple(int(i) for i in full)
    edges = np.linspace(0, len(full), most + 1)
    return tuple(int(full[int((a + b) / 2)]) for a, b in pairwise(edges))


def _across(count: int, tile_ratio: float) -> int:
    """Slices in a row that bring the whole picture closest to the shape of a page."""
    return min(
        range(1, count + 1),
        key=lambda n: (
            abs(math.log(n * tile_ratio / math.ceil(count / n) / _WIDTH_TO_HEIGHT)) + 0.3 * (-count % n)
        ),
    )
