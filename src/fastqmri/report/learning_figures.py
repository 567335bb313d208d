"""Pictures of a training and of an evaluation, as PNG files."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fastqmri.report.figures import ACCENT, INK, SOFT, new_figure, plain_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastqmri.learning.evaluation import Result

_MOST_PANELS = 24
_PREFERRED = "nRMSE"
_WIDE = 10.4


def loss_curve(history: Sequence[Mapping[str, float]], title: str) -> bytes:
    """Score and terms of the loss by step.

    Args:
        history: of `Trained`.
        title: above the figure.
    """
    figure = new_figure(7.0, 3.6)
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in history]
    scores = [row["score"] for row in history]
    best = int(np.nanargmin(scores)) if np.isfinite(scores).any() else 0
    left.plot(steps, scores, color=ACCENT, linewidth=1.4)
    left.scatter(steps[best], scores[best], color=INK, s=22, zorder=3)
    left.set_title(f"score, best {scores[best]:.4g}", fontsize=9, color=INK, loc="left")
    for name in (key for key in history[0] if key not in ("step", "score")):
        right.plot(steps, [row.get(name, math.nan) for row in history], linewidth=1.2, label=name)
    right.set_title("loss and its terms", fontsize=9, color=INK, loc="left")
    for panel in (left, right):
        plain_axes(panel)
        panel.set_xlabel("step", fontsize=9, color=INK)
    if all(row["loss"] > 0 for row in history):
        right.set_yscale("log")
        right.tick_params(axis="y", which="both", labelsize=7.5)
    right.legend(fontsize=7.5, frameon=False)
    figure.suptitle(title, fontsize=10, color=INK)
    return _png(figure)


def result_bars(results: Sequence[Result], name: str) -> bytes:
    """A panel for every number of every case: bars of the methods, with 95 % intervals.

    Args:
        results: of an evaluation.
        name: of the network, whose bars are coloured.
    """
    keys = list(dict.fromkeys((r.case, r.quantity, r.metric, r.unit) for r in results))
    # one error a parameter is enough to see
    common = {(case, quantity) for case, quantity, metric, _ in keys if metric == _PREFERRED}
    shown = [key for key in keys if key[2] == _PREFERRED or key[:2] not in common][:_MOST_PANELS]
    across = min(3, len(shown))
    down = math.ceil(len(shown) / across)
    most = max(len({r.method for r in results if r.case == key[0]}) for key in shown)
    figure = new_figure(_WIDE, down * (0.8 + 0.2 * most))
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel, key in zip(panels, shown, strict=False):
        rows = [r for r in results if (r.case, r.quantity, r.metric, r.unit) == key]
        _bars(panel, rows, name)
        case, quantity, metric, unit = key
        panel.set_title(
            f"{case}: {quantity} {metric}{f' ({unit})' if unit else ''}", fontsize=8, color=INK, loc="left"
        )
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    return _png(figure)


def _bars(panel: Axes, rows: Sequence[Result], name: str) -> None:
    plain_axes(panel)
    places = np.arange(len(rows))[::-1]
    values = [r.value for r in rows]
    colours = [ACCENT if r.method.startswith(name) else "#c3ccd4" for r in rows]
    panel.barh(places, values, color=colours, height=0.72)
    halves = [r.half_width or 0.0 for r in rows]
    panel.errorbar(values, places, xerr=halves, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    positive = [v for v in values if v > 0]
    if len(positive) == len(values) and max(positive) > 30 * min(positive):
        panel.set_xscale("log")
        panel.xaxis.set_minor_formatter("")
    panel.set_yticks(places, [r.method for r in rows], fontsize=7)
    panel.tick_params(axis="y", length=0, colors=INK)
    panel.spines["left"].set_color(SOFT)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
