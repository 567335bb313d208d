"""Estimates written to disk: as a plain folder, or as a BIDS derivative dataset."""

from __future__ import annotations

from collections.abc import Collection as AnyOf
from collections.abc import Sequence
from pathlib import Path

from fastqmri.core import Acquisition, ParameterMaps
from fastqmri.io.atomic import write_json
from fastqmri.io.maps import Estimation, products


def write_plain(
    out_dir: Path,
    maps: ParameterMaps,
    estimation: Estimation,
    *,
    acquisition: Acquisition | None = None,
    sources: Sequence[Path | str] = (),
    names: AnyOf[str] | None = None,
) -> list[Path]:
    """Write maps to a plain folder: ``T1map.nii.gz``, ``T1map_sd.nii.gz``, ``flags.nii.gz``, …, with JSON.

    Args:
        out_dir: the folder; made if missing.
        maps: the estimate.
        estimation: how it was made.
        acquisition: what the scanner was told, for the sidecars.
        sources: files it was made from, for the sidecars.
        names: parameters to write; None writes all.

    Returns:
        The files written.

    Raises:
        OutputError: the folder can't be written to.
    """
    written = []
    listed = [str(source) for source in sources]
    for product in products(maps, estimation, acquisition=acquisition, sources=listed, names=names):
        stem = f"{product.map}_{product.role}" if product.role else product.map
        image, sidecar = Path(out_dir) / f"{stem}.nii.gz", Path(out_dir) / f"{stem}.json"
        product.write(image, maps.affine)
        write_json(sidecar, product.sidecar)
        written += [image, sidecar]
    return written
