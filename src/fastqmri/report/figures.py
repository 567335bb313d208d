"""Pictures of a report: maps as palette images, everything with axes through matplotlib.

Every function returns a `Picture`; nothing is kept in global state.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastqmri.core import Flag
from fastqmri.physics.signal.diffusion import principal_direction
from fastqmri.report import png
from fastqmri.report.colours import ENTRIES, Floats, Scale
from fastqmri.report.consistency import KSpaceConsistency
from fastqmri.report.evidence import Contrasts, Fit
from fastqmri.report.mosaic import Mosaic
from fastqmri.report.quantities import DisplayUnit, flag_name, number, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, ACCENT, ALARM, BAND = "#1c2733", "#7b8794", "#1f6f9f", "#c0392b", "#b9d3e2"
_DOTS_PER_INCH = 144
_PAGE_INCHES = 10.4
_PAGE_PIXELS, _TALLEST_PIXELS, _LARGEST_VOXEL = 1060, 480, 96
_FEW_CONTRASTS, _BINS = 12, 80

FLAG_COLOURS = {
    Flag.OK: "#4d5a66",
    Flag.AT_BOUND: "#f2b134",
    Flag.LOW_SNR: "#4fa3d1",
    Flag.NOT_CONVERGED: "#b07cc6",
    Flag.MODEL_MISFIT: "#e4572e",
    Flag.OUTSIDE_TRAINING_RANGE: "#8bd17c",
    Flag.INVALID_INPUT: "#ffffff",
    Flag.SATURATED: "#ff9ecb",
}
"""Colour of each flag in maps; where several hold, the one listed last here is shown."""


@dataclass(frozen=True)
class Picture:
    """An image ready for a page.

    Attributes:
        uri: the PNG as a data address.
        alt: what it shows, for those who don't see it.
        width, height: shape to show it in, in CSS pixels.
    """

    uri: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True)
class ColourBar:
    """Legend of a map.

    Attributes:
        uri: the colour table as a picture one pixel high, lower end of the window first.
        label: quantity and unit.
        ticks: (position in percent of the bar, text).
        note: colour table and window in words.
    """

    uri: str
    label: str
    ticks: tuple[tuple[float, str], ...]
    note: str


def map_picture(values: Floats, scale: Scale, mosaic: Mosaic, alt: str) -> Picture:
    """Mosaic of a map (*voxels) with one palette entry a voxel; NaN is black."""
    return image_picture(mosaic.arrange(values, np.nan), scale, mosaic, alt)


def image_picture(image: Floats, scale: Scale, mosaic: Mosaic, alt: str) -> Picture:
    """A (row, column) picture that a mosaic has arranged; NaN is black."""
    return _mosaic_picture(png.encode(scale.indices(image), scale.table), image.shape, mosaic, alt)


def flag_picture(flags: NDArray[np.uint8], mosaic: Mosaic, alt: str) -> Picture:
    """Mosaic of the flags (*voxels) in `FLAG_COLOURS`; black outside the mask."""
    shown = np.ones(flags.shape, np.uint8)
    for i, flag in enumerate(FLAG_COLOURS):
        if flag:
            shown[(flags & int(flag)) != 0] = i + 1
    shown[(flags & int(Flag.MASKED)) != 0] = 0
    indices = mosaic.arrange(shown, 0).astype(np.uint8)
    table = np.array([[0.0, 0.0, 0.0], *(_rgb(colour) for colour in FLAG_COLOURS.values())])
    return _mosaic_picture(png.encode(indices, table), indices.shape, mosaic, alt)


def direction_picture(anisotropy: Floats, elements: Tensor, mosaic: Mosaic, alt: str) -> Picture:
    """Fractional anisotropy coloured by the main diffusion direction: x red, y green, z blue.

    Args:
        anisotropy: (*voxels).
        elements: (6, *voxels) tensor elements.
        mosaic: which slices.
        alt: text for those who don't see it.
    """
    valid = elements.detach().cpu().double().nan_to_num(0.0, 0.0, 0.0)
    direction = np.abs(principal_direction(valid).numpy())
    colours = np.clip(direction * np.nan_to_num(anisotropy), 0, 1)
    channels = [mosaic.arrange(channel, 0.0) for channel in colours]
    pixels = np.round(np.stack(channels, -1) * 255).astype(np.uint8)
    return _mosaic_picture(png.encode(pixels), pixels.shape, mosaic, alt)


def colour_bar(scale: Scale, label: str, unit: DisplayUnit) -> ColourBar:
    """Legend of a scale whose values are shown in ``unit``."""
    from matplotlib.ticker import MaxNLocator

    low, high = scale.low * unit.factor, scale.high * unit.factor
    places = [t for t in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high) if low <= t <= high]
    ticks = tuple((100 * (t - low) / (high - low), plain(t)) for t in places)
    named = f"{label} ({unit.text})" if unit.text else label
    window = f"window {plain(low)} to {plain(high)} {unit.text}".rstrip()
    uri = png.data_uri(png.encode(np.arange(ENTRIES, dtype=np.uint8)[None], scale.table))
    return ColourBar(uri, named, ticks, f"{scale.name}, {window}")


def curves_figure(fits: Sequence[Fit], label: str, alt: str) -> Picture:
    """Small multiples of measured points against the fitted curve."""
    across = min(4, len(fits))
    down = -(-len(fits) // across)
    figure = new_figure(max(0.25 * across, 0.5) * _PAGE_INCHES, 2.2 * down + 0.3)
    axes = np.atleast_1d(figure.subplots(down, across, squeeze=False)).ravel()
    for panel, fit in zip(axes, fits, strict=False):
        _draw_fit(panel, fit)
    for panel in axes[len(fits) :]:
        panel.set_visible(False)
    figure.supxlabel(label, fontsize=9, color=INK)
    figure.supylabel("signal (a.u.)", fontsize=9, color=INK)
    return _plot_picture(figure, alt)


def residual_figure(residual: Floats, contrasts: Contrasts | None, unit: str, alt: str) -> Picture:
    """Histogram of the root mean square residual and, beside it, the residual of every contrast.

    Args:
        residual: (voxel,) of trusted voxels.
        contrasts: residuals contrast by contrast, in the same unit; None leaves them out.
        unit: of the residuals, for the labels.
        alt: text for those who don't see it.
    """
    figure = new_figure(_PAGE_INCHES, 2.9)
    panels = figure.subplots(1, 1 if contrasts is None else 2, squeeze=False)[0]
    top = float(np.nanpercentile(residual, 99.5)) or 1.0
    _histogram(panels[0], residual, (0.0, top))
    panels[0].set_xlabel(f"RMS residual ({unit})", fontsize=9, color=INK)
    panels[0].set_ylabel("voxels", fontsize=9, color=INK)
    if contrasts is not None:
        _draw_contrasts(panels[1], contrasts)
        panels[1].set_ylabel(f"measured − fitted ({unit})", fontsize=9, color=INK)
    return _plot_picture(figure, alt)


def kspace_figure(kspace: KSpaceConsistency, alt: str) -> Picture:
    """Measured k-space and what the maps leave of it: by distance from the centre, and as pictures of one slice.

    Args:
        kspace: of the maps.
        alt: text for those who don't see it.
    """
    pictures = [p for p in (kspace.plane, kspace.plane_residual) if p is not None]
    figure = new_figure(_PAGE_INCHES, 2.9)
    panels = figure.subplots(1, 1 + len(pictures), squeeze=False, width_ratios=[1.6, *[1] * len(pictures)])[0]
    plain_axes(panels[0])
    for values, colour, name in ((kspace.measured, INK, "measured"), (kspace.residual, ACCENT, "residual")):
        shown = np.isfinite(values).any(0)
        low, high = np.nanmin(values[:, shown], 0), np.nanmax(values[:, shown], 0)
        panels[0].fill_between(kspace.radius[shown], low, high, color=colour, alpha=0.2, linewidth=0)
        middle = np.nanmedian(values[:, shown], 0)
        panels[0].plot(kspace.radius[shown], middle, color=colour, linewidth=1.4, label=name)
    if kspace.noise:
        panels[0].axhline(kspace.noise, color=SOFT, linewidth=1, linestyle="--", label="noise")
    panels[0].set_yscale("log")
    panels[0].tick_params(axis="y", which="both", labelsize=7.5)
    panels[0].legend(fontsize=7.5, frameon=False)
    panels[0].set_xlabel("distance from the centre of k-space", fontsize=9, color=INK)
    panels[0].set_ylabel("RMS of a sample", fontsize=9, color=INK)
    if pictures:
        decibels = [20 * np.log10(np.maximum(p, 1e-30) / np.nanmax(pictures[0])) for p in pictures]
        for panel, values, name in zip(panels[1:], decibels, ("measured", "residual"), strict=True):
            panel.imshow(values, cmap="gray", vmin=-80, vmax=0, interpolation="nearest")
            panel.set_title(f"{name}, 0 to −80 dB", fontsize=8, color=INK)
            panel.set_facecolor(BAND)
            panel.set_xticks([])
            panel.set_yticks([])
    return _plot_picture(figure, alt)


def histogram_figure(
    groups: Sequence[tuple[str, Floats]], label: str, limits: tuple[float, float], alt: str
) -> Picture:
    """Histograms of a parameter, one row a region, with median and interquartile range.

    Args:
        groups: region name and its values, in the unit of the label.
        label: of the common axis.
        limits: of the common axis.
        alt: text for those who don't see it.
    """
    figure = new_figure(0.52 * _PAGE_INCHES, 0.5 + max(1.8, 0.9 * len(groups)))
    panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False)[:, 0]
    for panel, (name, values) in zip(panels, groups, strict=True):
        quartiles = _histogram(panel, values, limits)
        panel.set_yticks([])
        panel.spines["left"].set_visible(False)
        words = name if len(groups) > 1 else ""
        if quartiles:
            lower, median, upper = map(number, quartiles)
            words += f"   median {median}, quartiles {lower} to {upper}"
        panel.set_title(_literal(words.strip()), fontsize=8, color=INK, loc="right", pad=2)
    panels[-1].set_xlabel(label, fontsize=9, color=INK)
    panels[-1].set_xlim(*limits)
    return _plot_picture(figure, alt)


def _draw_fit(panel: Axes, fit: Fit) -> None:
    plain_axes(panel)
    colour = ALARM if fit.flagged else ACCENT
    style = "steps-mid" if fit.stepped else "default"
    panel.plot(fit.curve_x, fit.curve, color=colour, linewidth=1.3, drawstyle=style)
    used = ~fit.excluded
    size = 16 if len(fit.x) <= 40 else 6
    panel.scatter(fit.x[used], fit.measured[used], s=size, color=INK, zorder=3, linewidths=0)
    panel.scatter(fit.x[~used], fit.measured[~used], s=24, color=ALARM, marker="x", zorder=3, linewidths=1.2)
    panel.set_title(_literal(fit.title), fontsize=8.5, color=INK, loc="left", pad=14)
    tone = colour if fit.flagged else SOFT
    panel.text(0, 1.02, fit.subtitle, transform=panel.transAxes, fontsize=7, color=tone)
    shown = np.concatenate([fit.curve, fit.measured])
    shown = shown[np.isfinite(shown)]
    if shown.size and shown.min() >= 0:
        panel.set_ylim(0, 1.08 * max(float(shown.max()), 1e-30))


def _draw_contrasts(panel: Axes, contrasts: Contrasts) -> None:
    """Median, quartiles and 5th to 95th percentile of every contrast."""
    plain_axes(panel)
    low, lower, median, upper, high = np.percentile(contrasts.residuals, (5, 25, 50, 75, 95), axis=1)
    few = len(median) <= _FEW_CONTRASTS
    places = np.arange(len(median))
    panel.axhline(0, color=SOFT, linewidth=0.8)
    panel.vlines(places, low, high, color=BAND, linewidth=2)
    panel.vlines(places, lower, upper, color=ACCENT, linewidth=4 if few else 2)
    panel.scatter(places, median, s=14 if few else 6, color=INK, zorder=3, linewidths=0)
    panel.set_xlim(-0.6, len(median) - 0.4)
    shown = places if few else places[:: -(-len(places) // _FEW_CONTRASTS)]
    panel.set_xticks(shown, [contrasts.names[i] for i in shown])
    panel.set_xlabel(contrasts.label, fontsize=9, color=INK)


def _histogram(panel: Axes, values: Floats, limits: tuple[float, float]) -> list[float]:
    """Counts, the median as a line, the interquartile range as a band; returns the quartiles, if any."""
    plain_axes(panel)
    finite = values[np.isfinite(values)]
    if not finite.size:
        panel.text(0.5, 0.5, "no trusted voxel", transform=panel.transAxes, ha="center", color=SOFT, size=8)
        return []
    lower, median, upper = np.percentile(finite, (25, 50, 75))
    panel.axvspan(lower, upper, color=BAND, alpha=0.6, linewidth=0)
    counts, edges = np.histogram(finite, bins=_BINS, range=limits)
    panel.stairs(counts, edges, fill=True, color=ACCENT, alpha=0.85)
    panel.axvline(median, color=INK, linewidth=1.2)
    return [float(lower), float(median), float(upper)]


def _literal(text: str) -> str:
    """Text that matplotlib must not read as a formula."""
    return text.replace("$", r"\$")


def plain_axes(panel: Axes) -> None:
    """Axes without a box, small grey ticks, few of them."""
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(SOFT)
    panel.tick_params(labelsize=7.5, colors=INK, color=SOFT, length=3)
    panel.ticklabel_format(axis="y", style="sci", scilimits=(-3, 4), useMathText=True)
    panel.yaxis.get_offset_text().set_fontsize(7)
    panel.locator_params(axis="y", nbins=4)


def new_figure(width: float, height: float) -> Figure:
    """A figure of its own, in inches, on white."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DOTS_PER_INCH, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _plot_picture(figure: Figure, alt: str) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    width, height = figure.get_size_inches() * 100
    return Picture(png.data_uri(buffer.getvalue()), alt, round(width), round(height))


def _mosaic_picture(encoded: bytes, shape: Sequence[int], mosaic: Mosaic, alt: str) -> Picture:
    """Fill the page as far as the height of a screen allows."""
    rows, columns = shape[0] * mosaic.view.aspect, shape[1]
    factor = min(_PAGE_PIXELS / columns, _TALLEST_PIXELS / rows, _LARGEST_VOXEL)
    return Picture(png.data_uri(encoded), alt, max(round(columns * factor), 1), max(round(rows * factor), 1))


def _rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def flag_legend(counts: dict[Flag, int]) -> list[tuple[str, str]]:
    """Colour and name of the flags that occur, for a legend."""
    return [(colour, flag_name(f)) for f, colour in FLAG_COLOURS.items() if counts.get(f)]
