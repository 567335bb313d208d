"""Digital objects with known truth."""

from fastqmri.phantoms.protocols import spiral_directions, typical_acquisition
from fastqmri.phantoms.vials import Phantom, vials

__all__ = ["Phantom", "spiral_directions", "typical_acquisition", "vials"]
