"""The NIST system phantom: estimates against reference values, and standard deviations against the spread.

T1 spheres 1 to 10 by inversion recovery within 5 % and by variable flip angle (no B1+ map) within 11 %; T2 spheres 3 to
10 within 10 % once stimulated echoes are modelled, clipped samples left out without being told. The reference value of
T2-5 looks wrong against every measurement of it and is printed, not judged.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from fastqmri.core import (
    Acquisition,
    Flag,
    InversionRecovery,
    Measurement,
    MultiEchoSpinEcho,
    ParameterMaps,
    VariableFlipAngle,
)
from fastqmri.estimators import entry

INVERSIONS = InversionRecovery(
    inversion_time=tuple(t / 1000 for t in (35, 75, 100, 125, 150, 250, 1000, 1500, 2000, 3000)),
    repetition_time="4.5s",
)
FLIPS = VariableFlipAngle(
    flip_angle=tuple(f"{angle}deg" for angle in (2, 5, 10, 15, 20, 25, 30)), repetition_time="7.3ms"
)
ECHOES = MultiEchoSpinEcho(echo_time=tuple(0.01 * i for i in range(1, 33)))
SUSPECT = {("T2", 1), ("T2", 5)}


@dataclass(frozen=True)
class Sphere:
    """What one sphere's voxels say."""

    number: int
    error: float
    spread: float
    claimed: float

    def __str__(self) -> str:
        return (
            f"{self.number:2d}  error {100 * self.error:6.1f} %  spread {1e3 * self.spread:7.2f} ms  "
            f"reported {1e3 * self.claimed:7.2f} ms  ratio {self.claimed / self.spread:5.2f}"
        )


def estimate(
    folder: Path, name: str, acquisition: Acquisition, model: str
) -> tuple[ParameterMaps, torch.Tensor]:
    images = np.asarray(nibabel.load(folder / f"{name}_mag.nii.gz").dataobj, dtype=np.float32)
    labels = torch.tensor(
        np.asarray(nibabel.load(folder / f"{name}_spheres.nii.gz").dataobj).astype(np.int16)
    )
    measurement = Measurement(torch.tensor(images).movedim(-1, 0), acquisition, mask=labels > 0)
    chosen = entry(model)
    built = chosen.build(acquisition, **chosen.options_for(measurement))
    return chosen.estimator(built).estimate(measurement), labels


def spheres(folder: Path, maps: ParameterMaps, labels: torch.Tensor, quantity: str) -> dict[int, Sphere]:
    found = {}
    with (folder / "reference.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["array"] == quantity]
    for row in rows:
        number = int(row["sphere"])
        inside = (labels == number) & maps.estimated
        if not bool(inside.any()):
            continue
        values = maps[quantity].value[inside].double()
        found[number] = Sphere(
            number,
            float(values.mean()) / (float(row[f"{quantity}_ms"]) / 1000) - 1,
            float(values.std()),
            float(maps[quantity].standard_deviation[inside].median()),
        )
    return found


def table(found: dict[int, Sphere]) -> str:
    return "\n".join(str(sphere) for sphere in found.values())


@pytest.mark.parametrize(
    ("name", "acquisition", "model", "quantity", "numbers", "limit"),
    [
        ("ir_t1", INVERSIONS, "irt1", "T1", range(1, 11), 0.05),
        ("vfa_t1", FLIPS, "vfa", "T1", range(1, 11), 0.11),
        ("mse_t2", ECHOES, "mese-stimulated", "T2", range(3, 11), 0.10),
    ],
)
def test_spheres_agree_with_the_reference(test_data, name, acquisition, model, quantity, numbers, limit):
    folder = test_data("nist_system_phantom_A")
    maps, labels = estimate(folder, name, acquisition, model)
    found = spheres(folder, maps, labels, quantity)
    print(table(found))
    outside = [n for n in numbers if (quantity, n) not in SUSPECT and abs(found[n].error) > limit]
    assert not outside, f"spheres {outside}\n{table(found)}"


def test_mono_exponential_t2_is_too_long_where_echoes_are_stimulated(test_data):
    """What the stimulated-echo model is for: without it all judged spheres are 10 to 40 % too long."""
    folder = test_data("nist_system_phantom_A")
    maps, labels = estimate(folder, "mse_t2", ECHOES, "mese")
    found = spheres(folder, maps, labels, "T2")
    errors = [found[n].error for n in range(3, 11) if ("T2", n) not in SUSPECT]
    assert all(0.1 < error < 0.4 for error in errors), table(found)


def test_clipped_samples_are_found_and_left_out(test_data):
    folder = test_data("nist_system_phantom_A")
    maps, labels = estimate(folder, "mse_t2", ECHOES, "mese")
    images = np.asarray(nibabel.load(folder / "mse_t2_mag.nii.gz").dataobj)
    clipped = torch.tensor((images == 4095).any(-1)) & (labels > 0)
    assert int(clipped.sum()) > 400
    flagged = (maps.flags & int(Flag.SATURATED)) != 0
    assert torch.equal(flagged, clipped)
    assert any("4095" in note for note in maps.notes)


def test_standard_deviations_bound_the_noise_part_of_the_spread(test_data):
    """Reported over observed, sphere by sphere: noise is not all that makes the spread, see docs/explanation/accuracy.

    What holds: where the spread is more than three times the reported value, or less than a quarter of it, in no more
    than two of ten spheres.
    """
    folder = test_data("nist_system_phantom_A")
    for name, acquisition, model in (("ir_t1", INVERSIONS, "irt1"), ("vfa_t1", FLIPS, "vfa")):
        maps, labels = estimate(folder, name, acquisition, model)
        found = spheres(folder, maps, labels, "T1")
        ratios = [found[n].claimed / found[n].spread for n in range(1, 11)]
        print(name, [round(ratio, 2) for ratio in ratios])
        assert sum(not 1 / 3 < ratio < 4 for ratio in ratios) <= 2, table(found)
