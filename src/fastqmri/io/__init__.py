"""Files in and out: the only floor that knows them."""

from fastqmri.io.atomic import atomic, write_json, write_text
from fastqmri.io.bids import Collection, Dataset, find_collections, take_b1_map
from fastqmri.io.derivatives import begin_derivatives, write_derivatives, write_plain
from fastqmri.io.gradients import read_diffusion, read_gradients
from fastqmri.io.maps import FILE_NAMES, Estimation, acquisition_fields
from fastqmri.io.names import Name, parse_name
from fastqmri.io.nifti import (
    Grid,
    Image,
    read_grid,
    read_image,
    read_images,
    read_labels,
    read_map,
    read_mask,
    write_image,
)
from fastqmri.io.phase import phase_in_radians
from fastqmri.io.plain import load_plain
from fastqmri.io.pulseq import read_pulseq
from fastqmri.io.schedules import read_schedule, write_schedule
from fastqmri.io.sidecars import Record, Sidecar, SidecarReader
from fastqmri.io.templates import read_mni152_tissues
from fastqmri.io.transmit import b1_fraction
from fastqmri.io.validation import Finding, validate

__all__ = [
    "FILE_NAMES",
    "Collection",
    "Dataset",
    "Estimation",
    "Finding",
    "Grid",
    "Image",
    "Name",
    "Record",
    "Sidecar",
    "SidecarReader",
    "acquisition_fields",
    "atomic",
    "b1_fraction",
    "begin_derivatives",
    "find_collections",
    "load_plain",
    "parse_name",
    "phase_in_radians",
    "read_diffusion",
    "read_gradients",
    "read_grid",
    "read_image",
    "read_images",
    "read_labels",
    "read_map",
    "read_mask",
    "read_mni152_tissues",
    "read_pulseq",
    "read_schedule",
    "take_b1_map",
    "validate",
    "write_derivatives",
    "write_image",
    "write_json",
    "write_plain",
    "write_schedule",
    "write_text",
]
