"""Raw data: k-space of ISMRMRD, Siemens and fastMRI files."""

from fastqmri.io.raw.load import load_raw
from fastqmri.io.raw.mrd import read_mrd
from fastqmri.io.raw.mrd_write import write_mrd
from fastqmri.io.raw.scan import LazySlices, RawScan, join_contrasts

__all__ = ["LazySlices", "RawScan", "join_contrasts", "load_raw", "read_mrd", "write_mrd"]
