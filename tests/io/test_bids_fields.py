"""BIDS scans of magnetisation transfer and of both fields: what is put together, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests import builders
from tests.builders import SCANNER, Dataset, truth

from fastqmri.core import (
    AcquisitionError,
    ActualFlipAngle,
    DoubleAngle,
    FastqmriError,
    FileError,
    MagnetizationTransferRatio,
    MagnetizationTransferSaturation,
    MultiEchoGradientEcho,
    MultiParameterMapping,
    PlausibilityError,
    SidecarError,
)
from fastqmri.io import Collection, find_collections


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path)


def only(dataset: Dataset) -> Collection:
    (found,) = find_collections(dataset.root)
    return found


def change(dataset: Dataset, name: str, **fields: object) -> None:
    """Change fields of a sidecar; None takes one out."""
    path = dataset.root / f"{name}.json"
    content = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def test_every_scan_becomes_its_acquisition(tmp_path: Path) -> None:
    found = {c.name: c for c in find_collections(builders.build_fields(tmp_path).root)}
    assert {name: c.problem for name, c in found.items() if c.problem} == {}
    kinds = {
        "sub-01_MTR": MagnetizationTransferRatio,
        "sub-01_MTS": MagnetizationTransferSaturation,
        "sub-01_MPM": MultiParameterMapping,
        "sub-01_TB1AFI": ActualFlipAngle,
        "sub-01_phasediff": MultiEchoGradientEcho,
        "sub-01_run-2_phasediff": MultiEchoGradientEcho,
        "sub-02_TB1DAM": DoubleAngle,
    }
    assert {name: type(found[name].acquisition) for name in kinds} == kinds
    assert [len(found[f"sub-01_{s}"].files) for s in ("MTR", "MTS", "MPM")] == [2, 3, 11]
    assert found["sub-01_TB1AFI"].acquisition.repetition_time == (0.02, 0.1)
    mapping = found["sub-01_MPM"].acquisition
    # images and numbers stay together: flip angle, then MT state, then echo
    for path, te, on in zip(found["sub-01_MPM"].files, mapping.echo_time, mapping.mt_state, strict=True):
        assert f"mt-{'on' if on else 'off'}" in path.name
        assert f"echo-{round(te / 0.0023)}_" in path.name
    assert {r.quantity for r in found["sub-01_MTS"].provenance} == {
        "MTState",
        "FlipAngle",
        "RepetitionTimeExcitation",
    }
    assert not any(c.warnings for c in found.values())


@pytest.mark.parametrize("difference", [True, False])
def test_phases_become_complex_echoes(dataset: Dataset, difference: bool) -> None:
    builders.add_phases(dataset, difference=difference)
    scan = only(dataset)
    data = scan.load().data
    b0 = (data[1] * data[0].conj()).angle() / (2 * math.pi * 0.00246)
    torch.testing.assert_close(b0.double(), truth(["B0"])[0], rtol=0, atol=1e-3)
    torch.testing.assert_close(data[1].abs().double(), truth(["S2"])[0], rtol=1e-5, atol=0)
    assert len(scan.used) == (3 if difference else 4)


def test_a_phase_difference_without_magnitudes_will_do(dataset: Dataset) -> None:
    builders.add_phases(dataset)
    for path in (dataset.root / "sub-01" / "fmap").glob("*magnitude*"):
        path.unlink()
    scan = only(dataset)
    data = scan.load().data
    torch.testing.assert_close(data.abs(), torch.ones_like(data.abs()))
    assert any("no magnitudes" in warning for warning in scan.warnings)


def test_scanner_steps_are_rescaled(dataset: Dataset) -> None:
    builders.add_phases(dataset)
    name = "sub-01/fmap/sub-01_phasediff"
    phase = 2 * math.pi * 0.00246 * truth(["B0"])[0]
    steps = (phase / math.pi * 4096).round().numpy().astype(np.int16)
    steps[0, 0, 0], steps[-1, -1, -1] = -4096, 4095
    dataset.image(name, steps, {"EchoTime1": 0.00492, "EchoTime2": 0.00738, **SCANNER})
    scan = only(dataset)
    found = scan.load().data[1].angle()[1:-1]
    torch.testing.assert_close(found.double(), phase[1:-1], rtol=0, atol=1e-3)
    assert any("rescaled" in warning for warning in scan.warnings)


def test_magnitudes_alone_are_no_scan(dataset: Dataset) -> None:
    builders.add_phases(dataset)
    for path in (dataset.root / "sub-01" / "fmap").glob("*phasediff*"):
        path.unlink()
    assert find_collections(dataset.root) == []


def test_saturation_with_echoes_is_multi_parameter_mapping(dataset: Dataset) -> None:
    builders.add_mpm(dataset)
    folder = dataset.root / "sub-01" / "anat"
    for path in list(folder.iterdir()):
        path.rename(path.with_name(path.name.replace("_MPM", "_MTS")))
    assert isinstance(only(dataset).acquisition, MultiParameterMapping)


def test_labels_beyond_the_weighting_tell_scans_apart(dataset: Dataset) -> None:
    builders.add_afi(dataset)
    folder = dataset.root / "sub-01" / "fmap"
    builders.add_afi(dataset, "02")
    for path in list((dataset.root / "sub-02" / "fmap").iterdir()):
        name = (
            path.name.replace("sub-02", "sub-01")
            .replace("acq-tr1", "acq-tr1late")
            .replace("acq-tr2", "acq-tr2late")
        )
        path.rename(folder / name)
    assert {c.name for c in find_collections(dataset.root)} == {"sub-01_TB1AFI", "sub-01_acq-late_TB1AFI"}


def test_a_missing_echo_is_said(dataset: Dataset) -> None:
    builders.add_mpm(dataset)
    for path in (dataset.root / "sub-01" / "anat").glob("*acq-PDw_echo-2*"):
        path.unlink()
    scan = only(dataset)
    assert scan.problem is None
    assert scan.acquisition.contrasts == 10
    assert any("has no echo-2" in warning for warning in scan.warnings)


def test_the_name_stands_in_for_a_missing_state(dataset: Dataset) -> None:
    builders.add_mtr(dataset)
    change(dataset, "sub-01/anat/sub-01_mt-on_MTR", MTState=None)
    scan = only(dataset)
    assert scan.acquisition == MagnetizationTransferRatio(mt_state=(False, True))
    assert any("no MTState" in warning for warning in scan.warnings)


def _rename(dataset: Dataset, old: str, new: str) -> None:
    for path in list(dataset.root.rglob(f"*{old}*")):
        path.rename(path.with_name(path.name.replace(old, new)))


MTS_ON = "sub-01/anat/sub-01_flip-1_mt-on_MTS"
AFI = "sub-01/fmap/sub-01_acq-tr{}_TB1AFI"
FAULTS: dict[str, tuple[Callable[..., None], Callable[[Dataset], None], type[FastqmriError], str]] = {
    "state against name": (
        builders.add_mtr,
        lambda d: change(d, "sub-01/anat/sub-01_mt-on_MTR", MTState=False),
        SidecarError,
        "says the opposite",
    ),
    "state in words": (
        builders.add_mtr,
        lambda d: change(d, "sub-01/anat/sub-01_mt-on_MTR", MTState="perhaps"),
        SidecarError,
        "true or false",
    ),
    "no state anywhere": (
        builders.add_mts,
        lambda d: (change(d, MTS_ON, MTState=None), _rename(d, "_flip-1_mt-on", "_flip-3")),
        SidecarError,
        "MTState",
    ),
    "only one MT state": (
        builders.add_mtr,
        lambda d: [path.unlink() for path in d.root.rglob("*mt-on*")],
        AcquisitionError,
        "distinct mt state",
    ),
    "no flip angle": (
        builders.add_mts,
        lambda d: change(d, MTS_ON, FlipAngle=None),
        SidecarError,
        "FlipAngle",
    ),
    "no repetition time": (
        builders.add_mts,
        lambda d: change(d, MTS_ON, RepetitionTimeExcitation=None),
        SidecarError,
        "RepetitionTimeExcitation",
    ),
    "milliseconds": (
        builders.add_mts,
        lambda d: change(d, MTS_ON, RepetitionTimeExcitation=28),
        PlausibilityError,
        "ms where s",
    ),
    "no T1 weighting": (
        builders.add_mts,
        lambda d: [path.unlink() for path in d.root.rglob("*flip-2*")],
        AcquisitionError,
        "T1 needs two",
    ),
    "no echo time": (
        builders.add_mpm,
        lambda d: change(d, "sub-01/anat/sub-01_acq-PDw_echo-1_flip-1_mt-off_MPM", EchoTime=None),
        SidecarError,
        "EchoTime",
    ),
    "swapped repetition times": (
        builders.add_afi,
        lambda d: (
            change(d, AFI.format(1), RepetitionTimeExcitation=0.1),
            change(d, AFI.format(2), RepetitionTimeExcitation=0.02),
        ),
        AcquisitionError,
        "shorter one",
    ),
    "two flip angles": (
        builders.add_afi,
        lambda d: change(d, AFI.format(1), FlipAngle=50),
        AcquisitionError,
        "one FlipAngle",
    ),
    "not the double": (
        builders.add_dam,
        lambda d: change(d, "sub-01/fmap/sub-01_flip-2_TB1DAM", FlipAngle=90),
        AcquisitionError,
        "twice the first",
    ),
    "echoes swapped": (
        builders.add_phases,
        lambda d: change(d, "sub-01/fmap/sub-01_phasediff", EchoTime1=0.00738, EchoTime2=0.00492),
        PlausibilityError,
        "order",
    ),
    "one echo time": (
        builders.add_phases,
        lambda d: change(d, "sub-01/fmap/sub-01_phasediff", EchoTime1=None),
        SidecarError,
        "EchoTime1",
    ),
    "one phase image": (
        lambda d: builders.add_phases(d, difference=False),
        lambda d: [path.unlink() for path in d.root.rglob("*phase2*")],
        FileError,
        "two are needed",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_missing_or_contradicts_is_refused(dataset: Dataset, name: str) -> None:
    add, spoil, kind, says = FAULTS[name]
    add(dataset)
    assert only(dataset).problem is None
    spoil(dataset)
    problem = only(dataset).problem
    assert isinstance(problem, kind), problem
    assert says in str(problem)


def test_a_phase_of_unknown_scale_is_refused(dataset: Dataset) -> None:
    builders.add_phases(dataset)
    times = {"EchoTime1": 0.00492, "EchoTime2": 0.00738, **SCANNER}
    dataset.image("sub-01/fmap/sub-01_phasediff", 100 + 50 * truth(["B0"])[0].float(), times)
    with pytest.raises(PlausibilityError, match="known scale"):
        only(dataset).load()
