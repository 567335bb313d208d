"""Raw data: k-space of ISMRMRD, Siemens and fastMRI files."""

from fastqmri.io.raw.fastmri import read_fastmri
from fastqmri.io.raw.load import load_raw
from fastqmri.io.raw.mrd import read_mrd
from fastqmri.io.raw.mrd_write import write_mrd
from fastqmri.io.raw.scan import LazySlices, RawScan, join_contrasts
from fastqmri.io.raw.siemens import read_siemens

__all__ = [
    "LazySlices",
    "RawScan",
    "join_contrasts",
    "load_raw",
    "read_fastmri",
    "read_mrd",
    "read_siemens",
    "write_mrd",
]
