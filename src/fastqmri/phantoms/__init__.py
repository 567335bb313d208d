"""Digital objects with known truth."""

from fastqmri.phantoms.acquire import acquire
from fastqmri.phantoms.ellipses import RANGES, ellipses
from fastqmri.phantoms.phantom import Phantom
from fastqmri.phantoms.protocols import spiral_directions, typical_acquisition
from fastqmri.phantoms.vials import LEAST_SIDE, VIALS, VialScan, vials

__all__ = [
    "LEAST_SIDE",
    "RANGES",
    "VIALS",
    "Phantom",
    "VialScan",
    "acquire",
    "ellipses",
    "spiral_directions",
    "typical_acquisition",
    "vials",
]
