"""T1 of an abdomen from five flip angles: load, estimate, look.

The scan comes with the package mdreg (extra ``demo``). Run it with ``python examples/abdominal_t1.py [picture.png]``.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fastqmri.cli.demo import lay_out
from fastqmri.core import Flag
from fastqmri.estimators import entry
from fastqmri.estimators.screening import foreground
from fastqmri.io import find_collections
from fastqmri.report.colours import relaxometry_table

SLICE = 13


def main(picture: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        scan = next(c for c in find_collections(folder) if c.suffix == "VFA")
        measurement = scan.load()

    vfa = entry("vfa")
    model = vfa.build(measurement.acquisition)
    maps = vfa.estimator(model).estimate(measurement)
    inside = foreground(measurement.data)[:, :, SLICE]
    t1 = maps["T1"]
    for flag, count in maps.flag_counts().items():
        print(f"{flag.name:24s} {count:8d}")

    def shown(values: object) -> np.ndarray:
        return np.where(inside, np.asarray(values)[:, :, SLICE], 0.0).T

    flags = np.where(np.asarray(maps.flags) == 0, 1, 2)
    figure = Figure(figsize=(10.5, 3.9), layout="constrained", facecolor="black")
    panels = figure.subplots(1, 3)
    colours = relaxometry_table("T1", 0.0, 2.0)
    from matplotlib.colors import ListedColormap

    titles = ("T1 [s]", "standard deviation of T1 [s]", "flagged voxels")
    images = [
        (shown(t1.value.nan_to_num()), ListedColormap(colours), 2.0),
        (shown(t1.standard_deviation.nan_to_num()), "gray", 0.5),
        (shown(flags), ListedColormap(["black", "#3b4252", "#ebcb8b"]), 2),
    ]
    for panel, title, (values, colour, high) in zip(panels, titles, images, strict=True):
        drawn = panel.imshow(values, cmap=colour, vmin=0, vmax=high, interpolation="nearest")
        panel.set_title(title, color="white", fontsize=11)
        panel.axis("off")
        if title != titles[2]:
            bar = figure.colorbar(drawn, ax=panel, shrink=0.8)
            bar.ax.tick_params(colors="white")
    figure.savefig(picture, dpi=110)
    share = np.mean(np.asarray(maps.flags)[:, :, SLICE][np.asarray(inside)] == Flag.OK)
    print(f"{100 * share:.1f} % of the slice is unflagged; picture in {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "abdomen-t1.png"))
