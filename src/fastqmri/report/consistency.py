"""What k-space says of maps: do they predict the samples that were measured?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fastqmri.report.colours import Floats

_BINS = 24
_LEAST_SAMPLES = 20


@dataclass(frozen=True)
class KSpaceConsistency:
    """Measured k-space beside what the maps predict, shell by shell around the centre.

    Attributes:
        radius: (bin,) middle of each shell, as a share of the largest measured radius.
        measured: (contrast, bin) root mean square of the samples of a shell; NaN where a shell has none.
        residual: (contrast, bin) of measured minus predicted.
        relative: ||predicted - measured|| / ||measured|| over all samples.
        overall: root mean square of measured minus predicted, over all samples.
        noise: standard deviation of a complex sample (both channels together), or None.
        coils: number of receive channels.
        acceleration: samples of a full matrix over those measured; None where there is no matrix.
        plane: measured magnitude of one slice and contrast, coils combined, (row, column), NaN where nothing was
            measured; None where k-space is no plane.
        plane_residual: the same of measured minus predicted.
    """

    radius: Floats
    measured: Floats
    residual: Floats
    relative: float
    overall: float
    noise: float | None
    coils: int
    acceleration: float | None
    plane: Floats | None
    plane_residual: Floats | None

    @property
    def residual_over_noise(self) -> float | None:
        """Root mean square residual in standard deviations of the noise; one is all that noise leaves."""
        return self.overall / self.noise if self.noise else None


class ConsistencyTally:
    """Adds k-space up slice by slice, so that a volume need never be whole in memory.

    Args:
        contrasts: number.
    """

    def __init__(self, contrasts: int) -> None:
        self._sums = torch.zeros(3, contrasts, _BINS, dtype=torch.float64)  # samples, measured², residual²
        self._noise = 0.0  # variance of all samples together
        self._coils = 0
        self._measured = self._possible = 0
        self._plane: tuple[Floats, Floats] | None = None

    def add(
        self,
        data: Tensor,
        predicted: Tensor,
        position: Tensor,
        mask: Tensor | None,
        *,
        noise: float,
        picture: bool = False,
    ) -> None:
        """Count one slice.

        Args:
            data: (contrast, coil, *samples) measured.
            predicted: the same from the maps.
            position: (contrast or 1, *samples) distance from the centre of k-space, as a share of the largest.
            mask: (contrast or 1, *samples) bool, which samples were measured; None for all.
            noise: standard deviation of one real channel; NaN if unknown.
            picture: whether this slice is the one to show.
        """
        contrasts = len(data)
        self._coils = data.shape[1]
        shape = (contrasts, *data.shape[2:])
        taken = torch.ones(shape, dtype=torch.bool) if mask is None else mask.expand(shape)
        bins = (position.expand(shape) * _BINS).long().clamp_(0, _BINS - 1)
        difference = data - predicted
        powers = [self._power(x) for x in (data, difference)]
        for contrast in range(contrasts):
            index = bins[contrast][taken[contrast]]
            self._sums[0, contrast] += torch.bincount(index, minlength=_BINS) * self._coils
            for row, power in enumerate(powers, start=1):
                weights = power[contrast][taken[contrast]]
                self._sums[row, contrast] += torch.bincount(index, weights, minlength=_BINS)
        self._noise += 2 * noise**2 * int(taken.sum()) * self._coils
        self._measured += int(taken.sum())
        self._possible += taken.numel()
        if picture and data.ndim == 4 and mask is not None:
            first = taken[0].numpy()
            self._plane = tuple(np.where(first, np.sqrt(p[0].numpy()), np.nan) for p in powers)  # type: ignore[assignment]

    def state(self) -> Tensor:
        """All that was counted, but for the picture."""
        counts = torch.tensor([self._coils, self._measured, self._possible, self._noise], dtype=torch.float64)
        return torch.cat([counts, self._sums.flatten()])

    def restore(self, state: Tensor, picture: tuple[Tensor, Tensor] | None = None) -> None:
        """Go on from a `state`, and its `picture`."""
        self._coils, self._measured, self._possible = (int(n) for n in state[:3])
        self._noise = float(state[3])
        self._sums = state[4:].view(self._sums.shape).clone()
        if picture is not None:
            self._plane = picture[0].numpy(), picture[1].numpy()

    @property
    def picture(self) -> tuple[Tensor, Tensor] | None:
        """Measured and residual magnitudes of the slice to show."""
        return None if self._plane is None else tuple(torch.from_numpy(p) for p in self._plane)  # type: ignore[return-value]

    def result(self) -> KSpaceConsistency:
        """The sums as root mean squares."""
        samples, measured, residual = self._sums.numpy()
        few = samples < _LEAST_SAMPLES
        per_shell = [
            np.sqrt(np.where(few, np.nan, total / np.maximum(samples, 1))) for total in (measured, residual)
        ]
        whole = measured.sum()
        cartesian = self._possible > self._measured or self._plane is not None
        return KSpaceConsistency(
            radius=(np.arange(_BINS) + 0.5) / _BINS,
            measured=per_shell[0],
            residual=per_shell[1],
            relative=float(np.sqrt(residual.sum() / whole)) if whole else float("nan"),
            overall=float(np.sqrt(residual.sum() / max(samples.sum(), 1))),
            noise=None if np.isnan(self._noise) else float(np.sqrt(self._noise / max(samples.sum(), 1))),
            coils=self._coils,
            acceleration=self._possible / max(self._measured, 1) if cartesian else None,
            plane=None if self._plane is None else self._plane[0],
            plane_residual=None if self._plane is None else self._plane[1],
        )

    @staticmethod
    def _power(x: Tensor) -> Tensor:
        return (x.real.double() ** 2 + x.imag.double() ** 2).sum(1)
