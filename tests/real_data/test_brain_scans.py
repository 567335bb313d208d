"""Brain and body scans without a reference: another program's values where there are any, and no unflagged nonsense."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
import torch

from fastqmri.core import (
    InversionRecovery,
    Measurement,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    ParameterMaps,
    VariableFlipAngle,
)
from fastqmri.estimators import entry
from fastqmri.estimators.screening import foreground


def array(path: object) -> torch.Tensor:
    return torch.tensor(np.asarray(nibabel.load(path).dataobj, dtype=np.float32))


def run(name: str, measurement: Measurement, method: str = "auto") -> ParameterMaps:
    chosen = entry(name)
    model = chosen.build(measurement.acquisition, **chosen.options_for(measurement))
    return chosen.estimator(model, method).estimate(measurement)


def share_within(maps: ParameterMaps, name: str, low: float, high: float) -> float:
    """Share of the unflagged voxels whose value lies in an interval that tissue can't leave."""
    value = maps[name].value[maps.trusted]
    share = float(((value > low) & (value < high)).float().mean())
    inside = maps.flags != 128
    flagged = 1 - float(maps.trusted.sum() / inside.sum())
    print(
        f"{name}: {100 * share:.2f} % of trusted voxels in {low:g} … {high:g}; {100 * flagged:.1f} % flagged"
    )
    return share


def test_variable_flip_angle_equals_qmrlab(test_data):
    folder = test_data("brain_vfa_b1_qmrlab")
    acquisition = VariableFlipAngle(flip_angle=("3deg", "20deg"), repetition_time="15ms")
    data = array(folder / "vfa_t1.nii.gz").movedim(-1, 0)
    known = {"B1": array(folder / "vfa_t1_B1map.nii.gz")}
    mask = array(folder / "vfa_t1_mask.nii.gz") > 0
    measurement = Measurement(data, acquisition, mask=mask, known=known)
    maps = run("vfa", measurement, "despot1")
    probes = json.loads((folder / "vfa_t1.json").read_text())["probes"]
    for probe in probes:
        voxel = (probe["x"], probe["y"], 0)
        assert float(maps["T1"].value[voxel]) == pytest.approx(probe["expected"]["T1"], rel=1e-4)
        assert float(maps["M0"].value[voxel]) == pytest.approx(probe["expected"]["M0"], rel=1e-4)
    exact = run("vfa", measurement)
    inside = exact.trusted & maps.trusted
    ratio = exact["T1"].value[inside] / maps["T1"].value[inside]
    assert float((ratio - 1).abs().max()) < 1e-4  # two images, two unknowns: every method solves them
    assert share_within(exact, "T1", 0.2, 6.0) > 0.999


def test_inversion_recovery_equals_qmrlab_where_unflagged(test_data):
    folder = test_data("brain_ir_t1_qmrlab")
    times = tuple(t / 1000 for t in (350, 500, 650, 800, 950, 1100, 1250, 1400, 1700))
    data = array(folder / "inversion_recovery.nii.gz").movedim(-1, 0)
    mask = array(folder / "inversion_recovery_mask.nii.gz") > 0
    maps = run("irt1", Measurement(data, InversionRecovery(inversion_time=times), mask=mask))
    probes = json.loads((folder / "inversion_recovery.json").read_text())["probes"]
    compared = 0
    for probe in probes:
        voxel = (probe["x"], probe["y"], 0)
        if int(maps.flags[voxel]) == 0:
            assert float(maps["T1"].value[voxel]) == pytest.approx(probe["expected"]["T1"], rel=0.02)
            compared += 1
    assert compared >= 2
    assert share_within(maps, "T1", 0.1, 6.0) > 0.999


def test_spin_echoes_are_plausible(test_data):
    folder = test_data("brain_mse_t2_qmrlab")
    acquisition = MultiEchoSpinEcho(echo_time=tuple(0.0128 * i for i in range(1, 31)))
    data = array(folder / "mono_t2.nii.gz").movedim(-1, 0)
    mask = array(folder / "mono_t2_mask.nii.gz") > 0
    maps = run("mese", Measurement(data, acquisition, mask=mask))
    assert share_within(maps, "T2", 0.02, 2.5) > 0.99


def test_echo_planar_decay_is_plausible_and_repeats(test_data):
    folder = test_data("brain_multiecho_epi_tedana")
    acquisition = MultiEchoGradientEcho(echo_time=("14.5ms", "38.5ms", "62.5ms"))
    series = torch.stack([array(folder / f"echo{i}.nii.gz") for i in (1, 2, 3)])
    mask = array(folder / "mask.nii.gz") > 0
    frames = [run("megre", Measurement(series[..., f], acquisition, mask=mask)) for f in range(5)]
    assert share_within(frames[0], "T2star", 0.003, 0.5) > 0.98
    values = torch.stack([maps["T2star"].value for maps in frames])
    inside = torch.stack([maps.trusted for maps in frames]).all(0)
    relative = values[:, inside].std(0) / values[:, inside].mean(0)
    print(f"frame to frame: median {100 * float(relative.median()):.1f} % in {int(inside.sum())} voxels")
    assert float(relative.median()) < 0.1


def test_abdomen_is_plausible(test_data):
    """Repetition time as in the documentation of the package that carries the scan."""
    folder = test_data("abdomen_vfa_mdreg")
    angles = tuple(f"{angle}deg" for angle in (2, 10, 15, 20, 25))
    acquisition = VariableFlipAngle(flip_angle=angles, repetition_time="3.71ms")
    data = array(folder / "vfa.nii.gz").movedim(-1, 0)
    maps = run("vfa", Measurement(data, acquisition, mask=foreground(data)))
    assert share_within(maps, "T1", 0.02, 6.0) > 0.99
    assert 0.4 < float(maps["T1"].value[maps.trusted].median()) < 1.2
