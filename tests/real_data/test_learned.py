"""Networks of k-space on maps of real brains; the k-space is synthetic, and the scans' own protocols are refused."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "methods" / "real_scans.py"


@pytest.fixture(scope="module")
def real_scans() -> ModuleType:
    """The script that prints the errors of all methods."""
    spec = importlib.util.spec_from_file_location("real_scans", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_a_network_maps_a_real_brain(real_scans: ModuleType, test_data) -> None:
    """T1 of five-fold undersampled k-space beside the fit to the scan; 0.97 and 2.6 % were measured."""
    scan = real_scans.SCANS["T1"]
    brain = real_scans.subject(scan, test_data("brain_vfa_b1_qmrlab").parent)
    assert int(brain.judged.sum()) > 2000
    measurement = brain.kspace(scan.trained, 0, brain.snr(scan.trained, brain.noise["corners"]))
    assert float((measurement.data != 0).float().mean()) == pytest.approx(0.2, abs=0.01)
    found = real_scans.network("dopamine-t1").estimate(measurement)["T1"].value.double()
    truth = brain.phantom.maps["T1"]
    assert bool(torch.isfinite(found[brain.phantom.mask]).all())
    tissue = brain.judged & (truth < scan.tissue_below)
    a, b = found[tissue], truth[tissue]
    assert float(torch.corrcoef(torch.stack([a, b]))[0, 1]) > 0.93
    assert float(((a - b) / b).abs().median()) < 0.05


@pytest.mark.parametrize(
    ("quantity", "folder"), [("T1", "brain_vfa_b1_qmrlab"), ("T2", "brain_mse_t2_qmrlab")]
)
def test_the_scans_own_protocol_is_refused(
    real_scans: ModuleType, test_data, quantity: str, folder: str
) -> None:
    scan = real_scans.SCANS[quantity]
    brain = real_scans.subject(scan, test_data(folder).parent)
    for name in scan.networks:
        said = real_scans.refusal(name, brain)
        assert f"{name} for a measurement it was not trained for" in said
        assert f"(trained: {scan.trained.acquisition.contrasts})" in said
