"""Scans written as BIDS: what is read back is what was scanned."""

from __future__ import annotations

import json
import subprocess
import sysconfig
from pathlib import Path

import pytest
import torch

from fastqmri.core import Measurement, UnknownNameError
from fastqmri.estimators import CATALOGUE
from fastqmri.io import find_collections
from fastqmri.io.scans import begin_dataset, write_scan
from fastqmri.phantoms import typical_acquisition

AFFINE = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0], dtype=torch.float64))
SUFFIXES = {
    "vfa": "VFA",
    "irt1": "IRT1",
    "mese": "MESE",
    "megre": "MEGRE",
    "megre-complex": "MEGRE",
    "mtr": "MTR",
    "mtsat": "MTS",
    "mpm": "MPM",
    "b1-afi": "TB1AFI",
    "b1-dam": "TB1DAM",
}


def scan(name: str, generator: torch.Generator) -> Measurement:
    entry = CATALOGUE[name]
    acquisition = typical_acquisition(entry.acquisition, name)
    shape = (acquisition.contrasts, 5, 4, 3)
    data = torch.rand(shape, generator=generator) + 0.5
    if name == "megre-complex":
        data = torch.polar(data, 2 * torch.rand(shape, generator=generator) - 1)
    known = {"B1": 0.9 + 0.2 * torch.rand(5, 4, 3, generator=generator)} if name in ("vfa", "mpm") else {}
    return Measurement(data, acquisition, known=known, affine=AFFINE)


@pytest.mark.parametrize("name", SUFFIXES)
def test_scans_come_back(name, tmp_path, generator):
    measurement = scan(name, generator)
    begin_dataset(tmp_path, name="test", readme="Made by a test. " * 20)
    paths = write_scan(tmp_path, "01", measurement, {"MagneticFieldStrength": 3})
    assert len(paths) == measurement.acquisition.contrasts
    (collection,) = [c for c in find_collections(tmp_path) if c.suffix == SUFFIXES[name]]
    read = collection.load(complex=measurement.data.is_complex())
    fields = type(read.acquisition).model_fields
    order = None
    for field in fields:
        wanted, got = (getattr(m.acquisition, field) for m in (measurement, read))
        if isinstance(wanted, tuple):
            wanted, got = torch.tensor(wanted).double(), torch.tensor(got).double()
            if order is None and name in ("mtr", "mtsat", "mpm"):  # the reader sorts by its indices
                rows = [
                    torch.stack([torch.tensor(getattr(m.acquisition, f)).double() for f in fields])
                    for m in (measurement, read)
                ]
                order = [int((rows[0] - column[:, None]).abs().sum(0).argmin()) for column in rows[1].T]
                assert sorted(order) == list(range(len(order)))
            assert torch.allclose(wanted if order is None else wanted[order], got, rtol=1e-6)
        elif wanted is not None:
            assert wanted == pytest.approx(got)
    data = measurement.data if order is None else measurement.data[order]
    assert torch.allclose(read.data, data, atol=1e-5)
    if measurement.known:
        assert torch.allclose(read.known["B1"], measurement.known["B1"], atol=1e-6)


def test_scans_are_valid(tmp_path, generator):
    validator = Path(sysconfig.get_path("scripts")) / "bids-validator-deno"
    if not validator.exists():
        pytest.skip("bids-validator-deno is not installed")
    begin_dataset(tmp_path, name="test", readme="Made by a test. " * 20)
    for name in SUFFIXES:
        write_scan(tmp_path, name.replace("-", ""), scan(name, generator), {"MagneticFieldStrength": 3})
    write_scan(tmp_path, "broken", scan("vfa", generator), {"MagneticFieldStrength": 3})
    (sidecar,) = tmp_path.glob("sub-broken/anat/*_flip-01_VFA.json")
    sidecar.unlink()  # the validator does look
    image = sidecar.with_suffix(".nii.gz")
    image.rename(image.with_name(image.name.replace("_VFA", "_VFAX")))
    command = [validator, tmp_path, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    content = json.loads(done.stdout)
    assert content["summary"]["totalFiles"] > 2 * 80
    errors = [issue for issue in content["issues"]["issues"] if issue["severity"] == "error"]
    assert errors
    assert all(issue["location"].startswith("/sub-broken/") for issue in errors), errors


def test_what_has_no_names_is_refused(tmp_path, generator):
    with pytest.raises(UnknownNameError, match="Fingerprinting"):
        write_scan(tmp_path, "01", scan("fingerprinting", generator), {})
