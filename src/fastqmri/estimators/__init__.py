"""Ways back from images to parameters."""

from fastqmri.estimators.catalogue import CATALOGUE, Entry, Method, entry
from fastqmri.estimators.cramer_rao import cramer_rao_bound
from fastqmri.estimators.least_squares import least_squares
from fastqmri.estimators.voxelwise import Voxelwise

__all__ = ["CATALOGUE", "Entry", "Method", "Voxelwise", "cramer_rao_bound", "entry", "least_squares"]
