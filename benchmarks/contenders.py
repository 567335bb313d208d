"""Who takes part: fastqmri, and whoever else is installed. All start from the same samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jobs import Array
from timing import Sample, timed
from work import Work

Estimates = dict[str, Array]


@dataclass
class Contender:
    """Somebody who can be timed.

    Attributes:
        name: for the table.
        voxels: how many it is given (slow ones get the first few only).
        run: does the work once; returns what `estimates` needs.
        read: turns that into estimates, untimed.
        rival: name of ours that it is compared with; None for our own.
        work: of one voxel, where it is known.
    """

    name: str
    voxels: int
    run: Callable[[], object]
    read: Callable[[object], Estimates]
    rival: str | None = None
    work: Work | None = None
    result: object = None

    def measure(self) -> Sample:
        """Time one run."""
        return timed(self._run)

    def estimates(self) -> Estimates:
        """What the last run found."""
        return self.read(self.result)

    def _run(self) -> None:
        self.result = self.run()


def accuracy(estimate: Array, truth: Array, relative: bool) -> dict[str, float]:
    """Bias, root mean square and median error (percent of the truth where relative), and failures."""
    error = np.asarray(estimate, float) - truth
    error = 100 * error / truth if relative else error
    finite = error[np.isfinite(error)]
    return {
        "bias": float(finite.mean()),
        "rmse": float(np.sqrt((finite**2).mean())),
        "median": float(np.median(np.abs(finite))),
        "failed": int(len(error) - len(finite)),
    }


def difference(estimate: Array, other: Array, truth: Array, relative: bool) -> float:
    """Median absolute difference of two estimates, in the unit of `accuracy`."""
    gap = np.abs(np.asarray(estimate, float) - np.asarray(other, float))
    return float(np.nanmedian(100 * gap / truth if relative else gap))
