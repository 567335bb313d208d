"""Plans of finufft (CPU) and cufinufft (GPU), made once and kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor

from fastqmri.core import DataError, PlausibilityError

_KEPT = 64
"""Plans in memory at most: each holds a fine grid for every thread and the order of the samples."""


class Plans:
    """The plans of one matrix, by type, contrast, precision, number of transforms and threads.

    Copies start empty: what a plan points to can't be copied.
    """

    def __init__(self, voxels: tuple[int, ...]) -> None:
        self.voxels = voxels
        self._kept: OrderedDict[tuple[Any, ...], tuple[Any, Tensor]] = OrderedDict()
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Plans:
        return Plans(self.voxels)

    def __reduce__(self) -> tuple[Any, ...]:
        return Plans, (self.voxels,)

    def execute(self, data: Tensor, points: Tensor, contrast: int, adjoint: bool, accuracy: float) -> Tensor:
        """(transform, *voxels) -> (transform, sample), or the reverse, without scaling.

        Args:
            data: complex, any strides.
            points: (sample, dimension), rad per voxel.
            contrast: which trajectory of the operator these points are.
            adjoint: samples to images.
            accuracy: relative.
        """
        if data.shape[0] == 0 or points.shape[0] == 0:
            last = self.voxels if adjoint else points.shape[:1]
            return data.new_zeros(data.shape[0], *last)
        data = data.resolve_conj().contiguous()
        with self._lock:
            plan = self._plan(data, points, contrast, adjoint, accuracy)
            out = data.new_empty(data.shape[0], *(self.voxels if adjoint else points.shape[:1]))
            one = data.shape[0] == 1  # a plan of one transform takes no leading axis
            source, target = (data[0], out[0]) if one else (data, out)
            if data.is_cuda:
                plan.execute(source, out=target)
            else:
                plan.execute(source.numpy(), out=target.numpy())
        return out

    def _plan(self, data: Tensor, points: Tensor, contrast: int, adjoint: bool, accuracy: float) -> Any:
        key = (
            adjoint,
            contrast,
            data.dtype,
            data.shape[0],
            accuracy,
            str(data.device),
            torch.get_num_threads(),
        )
        found = self._kept.pop(key, None)
        # points may have been moved in place (a trajectory that is learned)
        if found is None or not torch.equal(found[1], points):
            found = (self._make(data, points, adjoint, accuracy), points.clone())
        self._kept[key] = found
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return found[0]

    def _make(self, data: Tensor, points: Tensor, adjoint: bool, accuracy: float) -> Any:
        check_trajectory(points)
        real = data.real.dtype
        # float32 just beyond π is π rounded up
        columns = [c.contiguous() for c in points.to(device=data.device, dtype=real).T]
        kind, sign = (1, 1) if adjoint else (2, -1)
        dtype = "complex64" if data.dtype == torch.complex64 else "complex128"
        if data.is_cuda:
            cufinufft = _cufinufft()
            plan = cufinufft.Plan(
                kind, self.voxels, data.shape[0], accuracy, sign, dtype=dtype, gpu_device_id=data.device.index
            )
            plan.setpts(*columns)
            return plan
        import finufft

        plan = finufft.Plan(
            kind, self.voxels, data.shape[0], accuracy, sign, dtype=dtype, nthreads=torch.get_num_threads()
        )
        plan.setpts(*(c.numpy() for c in columns))
        return plan


def check_trajectory(trajectory: Tensor) -> None:
    """Refuse a trajectory that no plan can be made for.

    Raises:
        PlausibilityError: out of range or not finite.
    """
    finite = torch.isfinite(trajectory)
    if not bool(finite.all()):
        raise PlausibilityError(
            f"a trajectory with {int((~finite).sum())} of {trajectory.numel()} values not finite",
            "every sample needs a place in k-space.",
            "Leave the samples without a place out of trajectory and data.",
        )
    highest = float(trajectory.detach().abs().max()) if trajectory.numel() else 0.0
    if highest > torch.pi * (1 + 1e-5):
        raise PlausibilityError(
            f"a trajectory that reaches {highest:g}",
            "it is in rad per voxel, from -π to π; π is the edge of the k-space of this matrix.",
            "Multiply cycles per voxel by 2π, cycles per field of view by 2π / matrix, rad/m by the voxel's side in m; "
            "or choose a finer matrix.",
        )


def _cufinufft() -> Any:
    try:
        import cufinufft
    except ImportError as error:
        raise DataError(
            "samples on a GPU, without cufinufft",
            "the transform to samples off the grid needs it there.",
            "Install the extra fastqmri[cuda], or move operator and data to the CPU.",
        ) from error
    return cufinufft
