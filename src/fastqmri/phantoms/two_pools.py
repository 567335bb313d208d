"""Brains whose tissues have two pools of protons, for quantitative magnetisation transfer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from fastqmri.phantoms.anatomy import CSF, GREY, VESSELS, WHITE, Anatomy
from fastqmri.phantoms.brains import brain
from fastqmri.phantoms.fields import smooth_texture
from fastqmri.phantoms.phantom import Phantom, tissue_means
from fastqmri.phantoms.tissues import LESION

Ranges = Mapping[str, tuple[float, float]]
"""Property -> lowest and highest: F, kf or kr = kf/F [1/s], T1 [s], T2f [s], T2r [s]."""

DEEP: Ranges = {
    "F": (0.06, 0.115),
    "kf": (1.7, 3.5),
    "T1": (0.95, 1.5),
    "T2f": (0.045, 0.075),
    "T2r": (9e-6, 1.15e-5),
}
TISSUES: Mapping[str, Ranges] = {
    WHITE: {
        "F": (0.13, 0.16),
        "kf": (3.5, 5.0),
        "T1": (0.77, 0.94),
        "T2f": (0.034, 0.046),
        "T2r": (1.0e-5, 1.2e-5),
    },
    GREY: {
        "F": (0.06, 0.08),
        "kf": (1.5, 2.5),
        "T1": (1.2, 1.5),
        "T2f": (0.055, 0.075),
        "T2r": (9e-6, 1.1e-5),
    },
    CSF: {
        "F": (0.0005, 0.003),
        "kr": (15.0, 50.0),
        "T1": (3.0, 4.3),
        "T2f": (0.3, 0.45),
        "T2r": (9e-6, 1.1e-5),
    },
    VESSELS: {
        "F": (0.005, 0.02),
        "kr": (15.0, 50.0),
        "T1": (1.6, 2.1),
        "T2f": (0.1, 0.3),
        "T2r": (9e-6, 1.1e-5),
    },
    LESION: {
        "F": (0.02, 0.09),
        "kr": (15.0, 45.0),
        "T1": (1.0, 1.8),
        "T2f": (0.06, 0.15),
        "T2r": (8.5e-6, 1.2e-5),
    },
}
"""Tissue -> ranges at 3 T; other nuclei take those between white and grey matter. Our choice, about what Stanisz 2005
gives for white and grey matter."""
ODD: Ranges = {
    "F": (0.003, 0.25),
    "kr": (8.0, 70.0),
    "T1": (0.5, 3.0),
    "T2f": (0.015, 0.25),
    "T2r": (7e-6, 1.6e-5),
}
"""Tissue that is none of these, each property drawn by itself."""
_TEXTURED = ("F", "kf", "R1", "R2f", "T2r")


def two_pool_brain(
    anatomy: Anatomy,
    *,
    generator: torch.Generator,
    voxels: tuple[int, ...] = (96, 96),
    odd: float = 0.0,
    texture: tuple[float, float] = (0.03, 0.05),
    lesions: int = 0,
    b1: tuple[float, float] = (1.0, 1.0),
    b0: tuple[float, float] = (0.0, 0.0),
    height: float | None = None,
) -> Phantom:
    """A brain of `brain` whose tissues get pool size ratio, exchange and relaxation of their own.

    Every tissue's properties are drawn evenly within `TISSUES`; all vary smoothly within it. Where tissues share a
    voxel, F, kf and the relaxation rates (R1, R2f = 1/T2f) are their means, and signals add. M0 is one everywhere:
    the images are relative to one without saturation.

    Args:
        anatomy: tissues, of `load_anatomy`.
        generator: source of all randomness.
        voxels: matrix; two sides give an axial slice.
        odd: probability of a tissue to be drawn from `ODD` instead.
        texture: least and largest standard deviation of the variation within tissues, relative; drawn per property.
        lesions: number of lesions in the white matter.
        b1: lowest and highest transmit field, fraction of nominal.
        b0: lowest and highest off-resonance, Hz at 3 T; (0, 0) also leaves out the field of the sinuses.
        height: of the slice; drawn if None.
    """
    sinus = 12.0 if any(b0) else 0.0
    object_ = brain(
        anatomy,
        generator=generator,
        voxels=voxels,
        texture=0.0,
        lesions=lesions,
        b1=b1,
        b0=b0,
        sinus=sinus,
        height=height,
        supersampling=2,
    )
    assert object_.fractions is not None
    values = _values(object_.names[1:], odd, generator)
    mask = object_.mask
    filled = object_.fractions.sum(0)
    # voxels at the edge hold nothing else that gives signal
    fractions = object_.fractions / torch.where(mask & (filled > 0), filled, 1.0)
    maps = tissue_means(fractions, values)
    length = max(max(voxels) / 24, 1.0)
    for name in _TEXTURED:
        low, high = texture
        spread = low + (high - low) * float(torch.rand(1, dtype=torch.float64, generator=generator))
        maps[name] = maps[name] * smooth_texture(voxels, spread, length, generator=generator)
    maps["B1"], maps["B0"] = object_.maps["B1"], object_.maps["B0"]
    drawn = {
        "subject": anatomy.subject,
        "split": object_.drawn["split"],
        "odd": odd,
        "texture": texture,
        "B1": b1,
        "B0": b0,
        "height": object_.drawn["height"],
        "lesions": object_.drawn.get("lesions", []),
        "values": {name: value.tolist() for name, value in values.items()},
    }
    return replace(object_, maps=maps, fractions=fractions, values=values, drawn=drawn)


def _values(names: tuple[str, ...], odd: float, generator: torch.Generator) -> dict[str, Tensor]:
    """Property -> (tissue,): M0, F, kf, R1, R2f, T2r."""
    rows = []
    for name in names:
        strange = float(torch.rand(1, dtype=torch.float64, generator=generator)) < odd
        ranges = ODD if strange else TISSUES.get(name, DEEP)
        share = torch.rand(len(ranges), dtype=torch.float64, generator=generator).tolist()
        drawn = {
            key: low + s * (high - low) for s, (key, (low, high)) in zip(share, ranges.items(), strict=True)
        }
        kf = drawn["kf"] if "kf" in drawn else drawn["kr"] * drawn["F"]
        rows.append((1.0, drawn["F"], kf, 1 / drawn["T1"], 1 / drawn["T2f"], drawn["T2r"]))
    columns = torch.tensor(rows, dtype=torch.float64).T
    return dict(zip(("M0", *_TEXTURED), columns, strict=True))
