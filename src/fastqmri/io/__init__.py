"""Files in and out: the only floor that knows them."""

from fastqmri.io.atomic import atomic, write_json, write_text
from fastqmri.io.derivatives import write_plain
from fastqmri.io.gradients import read_diffusion, read_gradients
from fastqmri.io.maps import FILE_NAMES, Estimation
from fastqmri.io.nifti import (
    Grid,
    Image,
    read_grid,
    read_image,
    read_images,
    read_map,
    read_mask,
    write_image,
)
from fastqmri.io.plain import load_plain
from fastqmri.io.transmit import b1_fraction

__all__ = [
    "FILE_NAMES",
    "Estimation",
    "Grid",
    "Image",
    "atomic",
    "b1_fraction",
    "load_plain",
    "read_diffusion",
    "read_gradients",
    "read_grid",
    "read_image",
    "read_images",
    "read_map",
    "read_mask",
    "write_image",
    "write_json",
    "write_plain",
    "write_text",
]
