"""Digital objects with known truth."""

from fastqmri.phantoms.acquire import acquire
from fastqmri.phantoms.anatomy import Anatomy, load_anatomy
from fastqmri.phantoms.brains import brain
from fastqmri.phantoms.ellipses import RANGES, ellipses
from fastqmri.phantoms.fields import smooth_fields, smooth_textures
from fastqmri.phantoms.motion import draw_motion, move
from fastqmri.phantoms.noise import add_noise
from fastqmri.phantoms.phantom import AMPLITUDES, Phantom, parameters_of
from fastqmri.phantoms.protocols import spiral_directions, typical_acquisition
from fastqmri.phantoms.splits import ELLIPSE_SEEDS, SPLITS, SUBJECTS, split_of
from fastqmri.phantoms.susceptibility import (
    GradientEchoScan,
    gradient_echoes,
    susceptibility_ellipsoids,
    susceptibility_head,
)
from fastqmri.phantoms.tissues import tissue_properties
from fastqmri.phantoms.vials import LEAST_SIDE, VIALS, VialScan, vials

__all__ = [
    "AMPLITUDES",
    "ELLIPSE_SEEDS",
    "LEAST_SIDE",
    "RANGES",
    "SPLITS",
    "SUBJECTS",
    "VIALS",
    "Anatomy",
    "GradientEchoScan",
    "Phantom",
    "VialScan",
    "acquire",
    "add_noise",
    "brain",
    "draw_motion",
    "ellipses",
    "gradient_echoes",
    "load_anatomy",
    "move",
    "parameters_of",
    "smooth_fields",
    "smooth_textures",
    "spiral_directions",
    "split_of",
    "susceptibility_ellipsoids",
    "susceptibility_head",
    "tissue_properties",
    "typical_acquisition",
    "vials",
]
