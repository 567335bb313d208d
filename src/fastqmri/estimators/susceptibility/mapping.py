"""The whole way from complex gradient echoes to a map of susceptibility."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from fastqmri.core import (
    DataError,
    Flag,
    Measurement,
    MultiEchoGradientEcho,
    Parameter,
    ParameterMaps,
    PlausibilityError,
    Progress,
    ShapeError,
)
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.estimators.screening import foreground, image_noise
from fastqmri.estimators.susceptibility import echo_combination
from fastqmri.estimators.susceptibility.background import background_removal
from fastqmri.estimators.susceptibility.filters import Cut
from fastqmri.estimators.susceptibility.inversion import Inversion, radians_per_ppm
from fastqmri.estimators.susceptibility.inversions import inversion
from fastqmri.estimators.susceptibility.unwrapping import differences, edges_inside, unwrap_echoes
from fastqmri.solvers.growing import grow

AUTO = "auto"
_AUTOMATIC = "tv"
_FIELD_STRENGTHS = (0.01, 25.0)
_LEAST_PEAK_SNR = 5.0
_MISFIT = 5.0
"""Times the noise that the echoes may differ from one line, root mean square."""
_MISFIT_SHARE = 0.05
"""Of the largest magnitude; less is nothing to warn of."""
_DARK = 0.1
"""Share of the bright voxels' magnitude below which a voxel's phase is not worth looking at."""
_SUSCEPTIBILITY = Parameter(
    "Chi", "ppm", (-20.0, 20.0), (-0.3, 0.3), "magnetic susceptibility, relative to the reference region"
)
_LOCAL = Parameter("local_field", "ppm", (-20.0, 20.0), (-0.1, 0.1), "field of the sources inside the mask")
_TOTAL = Parameter("total_field", "Hz", (-5000.0, 5000.0), (-100.0, 100.0), "off-resonance of all sources")
_REST = Parameter(
    "off_diagonal_field",
    "ppm",
    (-20.0, 20.0),
    (-0.01, 0.01),
    "field of the susceptibility tensor's off-diagonal components, as the inversion tells it apart",
)
_PHASE = Parameter(
    "unwrapped_phase", "rad", (-1000.0, 1000.0), (-10.0, 10.0), "phase of the earlier of the closest echoes"
)


@final
@dataclass(frozen=True)
class SusceptibilityMapping:
    """Unwrapping, combination of the echoes, background removal and dipole inversion, as one `Estimator`.

    Gives ``Chi``, ``local_field`` (both ppm), ``total_field`` (Hz) and ``unwrapped_phase`` (rad); with an inversion
    that tells the rest of the field apart, ``Chi`` is the component along B0, with ``off_diagonal_field`` (ppm).

    Attributes:
        field_strength: B0 in T.
        unwrap: one of `unwrapping.METHODS`.
        combine: one of `echo_combination.METHODS`.
        background: name of one of `BACKGROUND_REMOVALS`.
        inversion: name of one of `INVERSIONS`, ``auto``, or an inversion of one's own.
        b0_direction: along the voxel axes; None takes z of the world, told by the affine.
        reference: (*voxels) bool, where the mean susceptibility is zero; None takes the whole mask.
        progress: called with (done, total), both in percent.
    """

    field_strength: float
    unwrap: str = "region-growing"
    combine: str = "nonlinear"
    background: str = "pdf"
    inversion: str | Inversion = AUTO
    b0_direction: tuple[float, float, float] | None = None
    reference: Tensor | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        low, high = _FIELD_STRENGTHS
        if not low <= self.field_strength <= high:
            raise PlausibilityError(
                f"a field of {self.field_strength:g} T",
                f"scanners have {low:g} to {high:g} T.",
                "Give it in T; without it no frequency can be told in ppm.",
            )

    @property
    def chosen(self) -> str:
        """Name of the inversion, once ``auto`` is decided."""
        return self._inverter.name

    @property
    def _inverter(self) -> Inversion:
        if isinstance(self.inversion, Inversion):
            return self.inversion
        return inversion(_AUTOMATIC if self.inversion == AUTO else self.inversion)

    @property
    def references(self) -> tuple[str, ...]:
        """Bibliography keys of exactly the parts used."""
        unwrapping = {
            "region-growing": ("dymerska2021", "eckstein2018"),
            "laplacian": ("schofield2003", "ghiglia1994"),
        }
        combining = {"linear": ("schneider1991",), "nonlinear": ("liu2013",)}
        return (
            *unwrapping[self.unwrap],
            *combining[self.combine],
            *background_removal(self.background).references,
            *self._inverter.references,
        )

    @property
    def description(self) -> str:
        """What is done, in one line."""
        return (
            f"{self.unwrap} phase unwrapping, {self.combine} fit of the echoes, background removal by "
            f"{self.background}, dipole inversion by {self.chosen}"
        )

    def estimate(self, measurement: Measurement) -> ParameterMaps:
        """Estimate the susceptibility of a complex multi-echo scan.

        Voxels that background removal loses count as outside the mask. The standard deviation of the local field is
        that of the total field; what background removal leaves or takes too much of is in no standard deviation, and
        the notes say so.

        Raises:
            DataError: magnitudes alone, or a mask of which nothing is left.
            ShapeError: other than volumes of several echoes, or no voxel size.
            UnknownNameError: an unknown method of a stage.
        """
        data, acquisition = measurement.data, measurement.acquisition
        removal, inverter = background_removal(self.background), self._inverter
        if not data.is_complex():
            raise DataError("magnitudes", "susceptibility is told by the phase.", "Give complex images.")
        if data.ndim != 4 or not isinstance(acquisition, MultiEchoGradientEcho):
            raise ShapeError(
                f"{type(acquisition).__name__} of shape {tuple(data.shape)}",
                "susceptibility is told by gradient echoes of a volume.",
                "Give (echo, x, y, z).",
            )
        if measurement.affine is None:
            raise ShapeError(
                "images without an affine", "the field depends on voxel sizes.", "Give voxel to world."
            )
        affine = measurement.affine
        voxel_size = tuple(affine[:3, :3].norm(dim=0).tolist())
        direction = self.b0_direction or echo_combination.direction_of_b0(affine)
        finite = torch.isfinite(data).all(0)
        data = torch.where(finite, data, 0)
        mask = automatic_mask(data) if measurement.mask is None else measurement.mask
        mask = mask & finite & (data.abs() > 0).any(0)
        if not bool(mask.any()):
            raise DataError("a mask without a usable voxel", "nothing would be estimated.", "Check the mask.")
        noise = measurement.noise or image_noise(measurement)
        times, magnitude = acquisition.echo_time, data.abs()
        unwrapped = unwrap_echoes(data, times, mask, method=self.unwrap, voxel_size=voxel_size)
        self._tell(15, 0, 1)
        # per unit of noise: what of it is proportional to its inverse serves as weight, whatever the noise is
        total = echo_combination.combine_echoes(unwrapped, magnitude, times, noise=1.0, method=self.combine)
        self._tell(20, 0, 1)
        excess = _excess(total.residual, len(times), noise)
        weight = torch.where(mask, 1 / (total.standard_deviation * excess.clamp_min(1)), 0)
        hertz = GYROMAGNETIC_RATIO * self.field_strength * 1e-6
        cut = Cut(mask)
        local = removal.remove(
            cut(torch.where(mask, total.frequency / hertz, 0)),
            cut(mask),
            voxel_size=voxel_size,
            b0_direction=direction,
            weight=cut(weight),
            progress=lambda done, all_: self._tell(20, 30 * done, all_),
        )
        weight = torch.where(local.mask, cut(weight), 0)
        level = None if noise is None else noise / hertz / float(weight[local.mask].square().mean().sqrt())
        strength = cut(magnitude.square().sum(0).sqrt())
        box = Cut(local.mask)
        result = inverter.invert(
            box(local.field),
            box(local.mask),
            voxel_size=voxel_size,
            b0_direction=direction,
            weight=box(weight),
            noise=level,
            magnitude=box(strength),
            radians_per_ppm=radians_per_ppm(self.field_strength, max(times)),
            reference=None if self.reference is None else box(cut(self.reference)),
            progress=lambda done, all_: self._tell(50, 50 * done, all_),
        )
        self._tell(100, 0, 1)
        kept = cut.back(local.mask)
        values = [
            cut.back(box.back(result.value)),
            cut.back(local.field),
            total.frequency,
            unwrapped.phase[unwrapped.template] + unwrapped.offset,
        ]
        spread = total.standard_deviation * (math.nan if noise is None else noise)
        deviations = [
            cut.back(box.back(result.standard_deviation)),
            spread / hertz,
            spread,
            (math.nan if noise is None else noise) / magnitude[unwrapped.template],
        ]
        within = [kept, kept, mask, mask]
        parameters = [_SUSCEPTIBILITY, _LOCAL, _TOTAL, _PHASE]
        if result.rest is not None:
            values.append(cut.back(box.back(result.rest)))
            deviations.append(torch.full_like(spread, math.nan))
            within.append(kept)
            parameters.append(_REST)
        value, deviation = (
            torch.stack(
                [torch.where(w, x.to(magnitude.dtype), math.nan) for w, x in zip(within, maps, strict=True)]
            )
            for maps in (values, deviations)
        )
        jumps = _beside_jumps(total.frequency, mask, times)
        flags = torch.zeros(mask.shape, dtype=torch.uint8)
        flags[~kept] |= int(Flag.MASKED)
        if noise is not None:
            flags[kept & (magnitude.amax(0) < _LEAST_PEAK_SNR * noise)] |= int(Flag.LOW_SNR)
            share = total.residual > _MISFIT_SHARE * magnitude.amax(0)
            flags[kept & (excess > _MISFIT) & share] |= int(Flag.MODEL_MISFIT)
        flags[kept & jumps] |= int(Flag.MODEL_MISFIT)
        if result.flags is not None:
            flags |= torch.where(kept, cut.back(box.back(result.flags)), 0).to(torch.uint8)
        flags[~finite & (measurement.mask if measurement.mask is not None else finite)] |= int(
            Flag.INVALID_INPUT
        )
        lost = int(mask.sum()) - int(kept.sum())
        where = "the whole mask" if self.reference is None else "the reference region"
        notes = [
            f"Susceptibility is relative to the mean over {where}.",
            f"Background removal by {self.background} loses {lost} of {int(mask.sum())} voxels of the mask: "
            f"{removal.loses}.",
            f"B0 along the voxel axes: ({', '.join(f'{part:.3f}' for part in direction)}).",
            f"Standard deviations of susceptibility: {result.spread_is}.",
            "Standard deviations of the local field and of susceptibility are those of noise; the error of background "
            "removal is in neither.",
            "Echoes are taken for monopolar: of a bipolar readout, the phase that odd and even echoes differ by is not "
            "corrected.",
            *result.notes,
        ]
        regions = int(unwrapped.regions.max())
        if regions > 1:
            notes.append(f"The mask has {regions} separate regions, whose phases may differ by whole turns.")
        if not result.converged:
            notes.append(f"The inversion stopped at its limit of {result.iterations} iterations.")
        return ParameterMaps(
            tuple(parameters),
            value,
            deviation,
            flags,
            affine=affine,
            residual=torch.where(kept, total.residual, math.nan),
            noise=None if noise is None else torch.tensor(noise),
            notes=tuple(notes),
        )

    def _tell(self, begin: int, done: float, total: int) -> None:
        if self.progress:
            self.progress(round(begin + done / total), 100)


def automatic_mask(data: Tensor) -> Tensor:
    """(x, y, z) bool: the largest connected region that stands out from the background, without its surface.

    Dark voxels inside, like veins, are left out, but their neighbours are not.

    Args:
        data: (echo, x, y, z).
    """
    bright, mean = foreground(data), data.abs().mean(0)
    values = mean[bright]
    if len(values):
        bright &= mean >= _DARK * values.kthvalue(max(1, int(0.95 * len(values)))).values
    largest = _largest_region(bright)
    solid = ~_open_to_faces(~largest)
    inner = solid.clone()
    for axis, edges in enumerate(edges_inside(solid)):
        size = solid.shape[axis]
        if size > 2:  # the faces of the volume are no surface of the object
            inner.narrow(axis, 0, size - 1).logical_and_(edges.narrow(axis, 0, size - 1))
            inner.narrow(axis, 1, size - 1).logical_and_(edges.narrow(axis, 0, size - 1))
    inner &= largest
    return inner if bool(inner.any()) else largest


def _regions_of(mask: Tensor) -> Tensor:
    """(x, y, z) int32 number of each voxel's connected region from 1, 0 outside."""
    return grow(torch.zeros(mask.shape), mask, edges_inside(mask).to(torch.uint8))[1]


def _largest_region(mask: Tensor) -> Tensor:
    regions = _regions_of(mask)
    counts = torch.bincount(regions.reshape(-1))
    return mask if len(counts) < 2 else regions == 1 + int(counts[1:].argmax())


def _open_to_faces(mask: Tensor) -> Tensor:
    """Voxels of a mask that are connected, inside it, to a face of the volume."""
    regions = _regions_of(mask)
    faces = [regions.select(axis, end).reshape(-1) for axis in range(3) for end in (0, -1)]
    touching = torch.cat(faces).unique()
    return mask & torch.isin(regions, touching[touching > 0])


def _excess(residual: Tensor, echoes: int, noise: float | None) -> Tensor:
    """Root mean square misfit over what noise leaves of it when two of the phases are fitted; ones where unknown."""
    if noise is None or echoes < 3:
        return torch.ones_like(residual)
    return residual / (noise * math.sqrt((echoes - 2) / echoes))


def _beside_jumps(frequency: Tensor, mask: Tensor, times: Sequence[float]) -> Tensor:
    """Voxels whose field differs from a neighbour's by more than half a turn between the closest echoes."""
    ordered = sorted(times)
    gap = min(b - a for a, b in itertools.pairwise(ordered))
    found = torch.zeros_like(mask)
    for axis, edges in enumerate(edges_inside(mask)):
        jump = edges & (differences(frequency, axis).abs() * gap > 0.5)
        found |= jump | torch.roll(jump, 1, axis)
    return found
