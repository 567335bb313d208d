"""``fastqmri qsm`` from BIDS and from plain files, and what it refuses."""

from __future__ import annotations

import json
import math
import shutil

import nibabel
import numpy as np
import pytest
import torch

from estimators.susceptibility.spheres import affine_of, correlation, echoes, head

TIMES = (0.004, 0.010, 0.016)


@pytest.fixture(scope="module")
def scan():
    """A small head with its complex echoes."""
    one = head(shape=(48, 52, 36), voxel_size=(1.8, 1.8, 2.2))
    return one, echoes(one, TIMES, 3.0, torch.Generator().manual_seed(7))


def _write(path, data, affine):
    image = nibabel.Nifti1Image(np.asarray(data, dtype=np.float32), affine.numpy())
    nibabel.save(image, path)


@pytest.fixture
def dataset(tmp_path, scan):
    """BIDS, phase in 12-bit steps."""
    one, data = scan
    folder = tmp_path / "raw" / "sub-01" / "anat"
    folder.mkdir(parents=True)
    (tmp_path / "raw" / "dataset_description.json").write_text('{"Name": "heads", "BIDSVersion": "1.10.0"}')
    for i, (echo, time) in enumerate(zip(data, TIMES, strict=True)):
        for part, values in (("mag", 1000 * echo.abs()), ("phase", (echo.angle() * 4096 / math.pi).round())):
            stem = folder / f"sub-01_echo-{i + 1}_part-{part}_MEGRE"
            _write(stem.with_name(f"{stem.name}.nii.gz"), values, affine_of(one))
            fields = {"EchoTime": time, "MagneticFieldStrength": 3.0}
            if part == "phase":
                fields["Units"] = "arbitrary"
            stem.with_name(f"{stem.name}.json").write_text(json.dumps(fields))
    return tmp_path / "raw"


def _edit(folder, pattern, **changes):
    for path in folder.rglob(pattern):
        fields = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in fields.items() if value is not None}))


def _read(path):
    return torch.from_numpy(np.asarray(nibabel.load(path).dataobj, dtype=np.float64))


def test_bids_to_chimap(invoke, dataset, scan, tmp_path):
    one, _ = scan
    out = tmp_path / "maps"
    result = invoke("qsm", dataset, out)
    assert result.exit_code == 0, result.output
    anat = out / "sub-01" / "anat"
    (chimap,) = [path for path in anat.glob("*_Chimap.nii.gz") if "Sd_" not in path.name]
    (flags,) = anat.glob("*Flag_dseg.nii.gz")
    (mask,) = anat.glob("*_mask.nii.gz")
    kept = (_read(flags).int() & 128) == 0
    chi = _read(chimap)
    assert correlation(chi[kept], one.chi[kept]) > 0.8
    assert not bool((kept & (_read(mask) == 0)).any())
    sidecar = json.loads(chimap.with_name(chimap.name.replace(".nii.gz", ".json")).read_text())
    assert sidecar["Units"] == "ppm"
    assert "mean over the whole mask" in sidecar["ReferenceRegion"]
    assert sidecar["EchoTime"] == list(TIMES)
    assert len(sidecar["Sources"]) == 6
    for ending in (
        "Sd_Chimap",
        "tv_localField",
        "tv_totalField",
        "Sd_totalField",
        "tv_unwrappedPhase",
        "_residual",
    ):
        assert len(list(anat.glob(f"*{ending}.nii.gz"))) == 1, ending
    page = (out / "reports" / "sub-01_MEGRE_qsm_report.html").read_text()
    for part in ("Chi", "local_field", "total_field", "unwrapped_phase", "Dymerska", "field strength"):
        assert part in page
    total = _read(next(path for path in anat.glob("*_totalField.nii.gz") if "Sd_" not in path.name))
    truth = (one.local + one.background) * 42.577478518 * 3
    assert float((total - truth)[kept].abs().median()) < 0.6

    again = invoke("qsm", dataset, out)
    assert "done already" in again.output
    other = invoke("qsm", dataset, out, "--method", "tkd")
    assert "1 mapped" in other.output
    assert list(anat.glob("*qsmtkd_Chimap.nii.gz"))


def test_plain_files_with_label_as_reference(invoke, scan, tmp_path):
    one, data = scan
    affine = affine_of(one)
    _write(tmp_path / "mag.nii.gz", data.abs().movedim(0, -1), affine)
    _write(tmp_path / "phase.nii.gz", data.angle().movedim(0, -1), affine)
    _write(tmp_path / "mask.nii.gz", one.mask.double(), affine)
    labels = torch.zeros(one.mask.shape)
    labels[20:28, 20:28, 15:20] = 4
    _write(tmp_path / "labels.nii.gz", labels, affine)
    out = tmp_path / "out"
    words = [
        *("qsm", "--images", tmp_path / "mag.nii.gz", "--phase", tmp_path / "phase.nii.gz"),
        *("--echo-time", "4,10,16ms", "--field-strength", "3T", "--mask", tmp_path / "mask.nii.gz"),
        *(
            "--reference",
            f"{tmp_path / 'labels.nii.gz'}:4",
            "--background",
            "lbv",
            "--method",
            "l2",
            "--out",
            out,
        ),
    ]
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    kept = (_read(out / "flags.nii.gz").int() & 128) == 0
    chi = _read(out / "Chimap.nii.gz")
    assert correlation(chi[kept], one.chi[kept]) > 0.8
    assert float(chi[(labels == 4) & kept].mean()) == pytest.approx(0, abs=1e-6)
    assert "reference region" in json.loads((out / "Chimap.json").read_text())["ReferenceRegion"]
    assert torch.equal(_read(out / "mask.nii.gz") > 0, one.mask)
    refusal = invoke(*words)
    assert refusal.exit_code == 2
    assert "--force" in refusal.output


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda f: next(f.rglob("*echo-2_part-phase*.nii.gz")).unlink(), "every echo needs both"),
        (lambda f: [p.unlink() for p in f.rglob("*part-phase*")], "told by the phase"),
        (lambda f: _edit(f, "*.json", MagneticFieldStrength=None), "--field-strength 3T"),
        (lambda f: _edit(f, "*MEGRE.json", EchoTime=7), "EchoTime = 7"),
        (lambda f: _edit(f, "*MEGRE.json", MagneticFieldStrength=30000), "T."),
    ],
    ids=["missing echo", "no phase", "no field strength", "milliseconds", "gauss"],
)
def test_scans_that_cannot_be_mapped_leave_nothing(invoke, dataset, tmp_path, spoil, expected):
    spoil(dataset)
    out = tmp_path / "maps"
    result = invoke("qsm", dataset, out)
    assert result.exit_code == 3, result.output
    assert expected in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not out.exists()


def test_phase_of_unknown_scale_leaves_no_map(invoke, dataset, tmp_path, scan):
    one, _ = scan
    for path in dataset.rglob("*part-phase*.nii.gz"):
        _write(path, _read(path) * 0.037 + 900, affine_of(one))
    out = tmp_path / "maps"
    result = invoke("qsm", dataset, out)
    assert result.exit_code == 3, result.output
    assert "neither radians nor a known scale" in " ".join(result.output.split())
    assert not list(out.rglob("*.nii.gz"))


def test_matrix_mismatch_leaves_no_map(invoke, dataset, tmp_path, scan):
    one, _ = scan
    path = next(dataset.rglob("*echo-1_part-phase*.nii.gz"))
    _write(path, _read(path)[:-4], affine_of(one))
    result = invoke("qsm", dataset, tmp_path / "maps")
    assert result.exit_code == 3, result.output
    assert not list((tmp_path / "maps").rglob("*.nii.gz"))


def test_refusals_before_anything_is_read(refused, dataset, tmp_path):
    out = tmp_path / "maps"
    assert "magic" in refused("FQ501", "qsm", dataset, out, "--unwrap", "magic")
    assert "magic" in refused("FQ501", "qsm", dataset, out, "--background", "magic")
    assert "magic" in refused("FQ501", "qsm", dataset, out, "--method", "magic")
    assert "0,0" in refused("FQ101", "qsm", dataset, out, "--b0-direction", "0,0")
    assert "nothing to map" in refused("FQ301", "qsm")
    assert "--echo-time" in refused("FQ101", "qsm", "--images", "a.nii", "--out", out)
    assert "Write 4ms or 4s" in refused(
        "FQ101", "qsm", "--images", "a.nii", "--out", out, "--echo-time", "4,8", "--field-strength", "3T"
    )
    shutil.rmtree(dataset / "sub-01")
    assert "MEGRE" in refused("FQ301", "qsm", dataset, out)
    assert not out.exists()


def test_network_maps_the_off_diagonal_field_too(invoke, dataset, scan, tmp_path):
    one, _ = scan
    out = tmp_path / "maps"
    result = invoke("qsm", dataset, out, "--method", "modl-qsm")
    assert result.exit_code == 0, result.output
    anat = out / "sub-01" / "anat"
    (chimap,) = [path for path in anat.glob("*_Chimap.nii.gz") if "Sd_" not in path.name]
    assert "qsmmodlqsm" in json.dumps([path.name for path in out.rglob("*")])
    (rest,) = [path for path in anat.glob("*offDiagonalField.nii.gz") if "Sd_" not in path.name]
    (flags,) = anat.glob("*Flag_dseg.nii.gz")
    kept = (_read(flags).int() & 128) == 0
    assert correlation(_read(chimap)[kept], one.chi[kept]) > 0.8
    assert float(_read(rest)[kept].std()) < 0.01
    sidecar = json.loads(chimap.with_name(chimap.name.replace(".nii.gz", ".json")).read_text())
    assert len(sidecar["NetworkWeightsSHA256"]) == 64
    (page,) = out.rglob("*_qsm_report.html")
    assert "modl-qsm minus tv" in page.read_text()
    # the same again is not done again
    assert "done already" in invoke("qsm", dataset, out, "--method", "modl-qsm").output


def test_network_refuses_an_oblique_field(invoke, dataset, tmp_path):
    result = invoke("qsm", dataset, tmp_path / "maps", "--method", "modl-qsm", "--b0-direction", "0,1,1")
    assert result.exit_code != 0
    assert "--method tv" in " ".join(result.output.split())
