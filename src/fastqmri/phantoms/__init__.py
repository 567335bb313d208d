"""Digital objects with known truth."""

from fastqmri.phantoms.protocols import spiral_directions, typical_acquisition
from fastqmri.phantoms.vials import LEAST_SIDE, VIALS, Phantom, vials

__all__ = ["LEAST_SIDE", "VIALS", "Phantom", "spiral_directions", "typical_acquisition", "vials"]
