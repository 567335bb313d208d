"""Errors of methods side by side: rows, tables, CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

SHIFT = "shift: "
"""Begins the name of a case that lies outside what the network was trained for."""


class Result(BaseModel):
    """One number of one method.

    Attributes:
        case: what was mapped, such as ``brain, R 5``; begins with `SHIFT` outside the training range.
        method: the network's recipe, or a classical method.
        quantity: parameter, or ``time``, ``k-space``.
        metric: such as ``nRMSE``.
        unit: of the value.
        value: mean over the samples.
        half_width: of the 95 % interval of the mean; None where there is one sample.
        samples: phantoms times seeds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: str
    method: str
    quantity: str
    metric: str
    unit: str
    value: float
    half_width: float | None = None
    samples: int = 1

    @classmethod
    def over(
        cls, case: str, method: str, quantity: str, metric: str, unit: str, values: Sequence[float]
    ) -> Result:
        """The mean of values of independent samples, with its interval."""
        column = torch.tensor(list(values), dtype=torch.float64)
        half = 1.96 * float(column.std()) / math.sqrt(len(column)) if len(column) > 1 else None
        return cls(
            case=case,
            method=method,
            quantity=quantity,
            metric=metric,
            unit=unit,
            value=float(column.mean()),
            half_width=half,
            samples=len(column),
        )

    @property
    def text(self) -> str:
        """Value and interval."""
        return f"{self.value:.3g}" if self.half_width is None else f"{self.value:.3g} ± {self.half_width:.2g}"


def relative_error(value: Tensor, truth: Tensor, mask: Tensor) -> float:
    """nRMSE = 100 ||x̂ - x|| / ||x|| over the mask, in percent; what was not estimated counts as zero.

    Args:
        value: (*voxels).
        truth: (*voxels).
        mask: (*voxels) bool.
    """
    wanted = truth[mask].double()
    return 100 * float((value[mask].double().nan_to_num() - wanted).norm() / wanted.norm())


def mean_percent_error(value: Tensor, truth: Tensor, mask: Tensor) -> float:
    """MAPE = mean of 100 |x̂ - x| / |x| over the mask, in percent; what was not estimated counts as zero.

    Args:
        value: (*voxels).
        truth: (*voxels).
        mask: (*voxels) bool.
    """
    wanted = truth[mask].double()
    return 100 * float(((value[mask].double().nan_to_num() - wanted) / wanted).abs().mean())


def bias_and_spread(value: Tensor, truth: Tensor, mask: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the error over the mask, in percent of the mean truth.

    Args:
        value: (*voxels).
        truth: (*voxels).
        mask: (*voxels) bool.
    """
    wanted = truth[mask].double()
    error = value[mask].double().nan_to_num() - wanted
    scale = 100 / float(wanted.mean().abs())
    return scale * float(error.mean()), scale * float(error.std())


def structural_similarity(value: Tensor, truth: Tensor, mask: Tensor, span: float) -> float:
    """SSIM, windows of seven voxels, constants of a fixed range, mean over the mask; 1 is best.

    Source: Wang 2004.

    Args:
        value: (*plane) two-dimensional, taken as zero outside the mask like the truth.
        truth: (*plane).
        mask: (*plane) bool.
        span: of the values, such as 3 s for T1.
    """
    a, b = (torch.where(mask, x.double().nan_to_num(), 0.0) for x in (value, truth))
    maps = torch.stack([a, b, a * a, b * b, a * b])[:, None]
    mean = torch.nn.functional.avg_pool2d(maps, 7, 1, 3, count_include_pad=True)[:, 0]
    more = 49 / 48  # sample variances
    variance_a, variance_b = (mean[2] - mean[0] ** 2) * more, (mean[3] - mean[1] ** 2) * more
    covariance = (mean[4] - mean[0] * mean[1]) * more
    first, second = (0.01 * span) ** 2, (0.03 * span) ** 2
    similarity = (2 * mean[0] * mean[1] + first) * (2 * covariance + second)
    similarity = similarity / ((mean[0] ** 2 + mean[1] ** 2 + first) * (variance_a + variance_b + second))
    return float(similarity[mask].mean())


def expected_errors(results: Iterable[Result], method: str) -> dict[str, float]:
    """Quantity -> the largest relative error (fraction) of a method inside its training range."""
    found: dict[str, float] = {}
    for r in results:
        if r.method == method and r.metric == "nRMSE" and r.unit == "%" and not r.case.startswith(SHIFT):
            found[r.quantity] = max(found.get(r.quantity, 0.0), r.value / 100)
    return found


@dataclass(frozen=True)
class Standing:
    """A network beside the best classical method in one number.

    Attributes:
        own: the network's.
        rival: of the best classical method.
    """

    own: Result
    rival: Result

    @property
    def gain(self) -> float:
        """How much better the network is, as a share of the rival's number; negative where it is worse."""
        own, rival = self.own.value, self.rival.value
        if self.own.metric in _MORE_IS_BETTER:
            return (own - rival) / max(abs(rival), 1e-30)
        return (abs(rival) - abs(own)) / max(abs(rival), 1e-30)

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``no clear difference`` where the 95 % interval of the difference holds zero."""
        room = math.hypot(self.own.half_width or 0.0, self.rival.half_width or 0.0)
        if abs(self.own.value - self.rival.value) <= room:
            return _UNCLEAR
        return "better" if self.gain > 0 else "worse"

    @property
    def text(self) -> str:
        """One line."""
        unit = f" {self.own.unit}" if self.own.unit else ""
        what = f"{self.own.case}: {self.own.quantity} {self.own.metric}"
        amount = "" if self.verdict == _UNCLEAR else f" by {_amount(self)}"
        rival = f"{self.rival.method} {self.rival.text}{unit}"
        return f"{self.own.method}: {self.verdict}{amount}, {what} {self.own.text}{unit}, {rival}"


_MORE_IS_BETTER = ("SSIM", "XSIM", "r", "correlation")
_NETWORK, _TIME, _UNCLEAR = "network", "time", "no clear difference"
_BOUNDS = ("Cramér",)
"""Begin the names of rows that no method made."""


def standings(results: Iterable[Result], name: str) -> list[Standing]:
    """A network beside the best of the classical methods, number by number.

    Times are held against the method that was best by the first number of the case: fast ones may be of no use.

    Args:
        results: of all.
        name: of the network; rows that begin with it and a comma are its variants. No network is a rival.
    """
    rows = list(results)
    found: list[Standing] = []
    best: dict[str, str] = {}
    for own in sorted(rows, key=lambda r: r.quantity == _TIME):
        if own.method != name and not own.method.startswith(f"{name},"):
            continue
        rivals = [
            r
            for r in rows
            if (r.case, r.quantity, r.metric, r.unit) == (own.case, own.quantity, own.metric, own.unit)
            and not r.method.startswith((name, *_BOUNDS))
            and _NETWORK not in r.method
            and math.isfinite(r.value)
        ]
        if own.quantity == _TIME and own.case in best:
            rivals = [r for r in rivals if r.method == best[own.case]]
        if rivals:
            more = own.metric in _MORE_IS_BETTER
            found.append(Standing(own, min(rivals, key=lambda r: -r.value if more else abs(r.value))))
            best.setdefault(own.case, found[-1].rival.method)
    return found


def _amount(standing: Standing) -> str:
    own, rival = abs(standing.own.value), abs(standing.rival.value)
    ratio = max(own, rival) / max(min(own, rival), 1e-30)
    return f"{100 * abs(standing.gain):.0f} %" if ratio < 3 else f"a factor of {ratio:.3g}"


def as_text(results: Sequence[Result]) -> str:
    """One table a case: a row for every method, a column for every number."""
    blocks = []
    for case in dict.fromkeys(r.case for r in results):
        rows = [r for r in results if r.case == case]
        columns = list(dict.fromkeys((r.quantity, r.metric, r.unit) for r in rows))
        heads = [f"{q} {m} [{u}]" if u else f"{q} {m}" for q, m, u in columns]
        lines = [["", *heads]]
        for method in dict.fromkeys(r.method for r in rows):
            of = {(r.quantity, r.metric, r.unit): r.text for r in rows if r.method == method}
            lines.append([method, *(of.get(c, "-") for c in columns)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        body = "\n".join(
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )
        blocks.append(f"{case}  ({max(r.samples for r in rows)} samples)\n{body}")
    return "\n\n".join(blocks) + "\n"


def as_csv(results: Iterable[Result]) -> str:
    """One row a number."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Result.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(r.model_dump() for r in results)
    return text.getvalue()
