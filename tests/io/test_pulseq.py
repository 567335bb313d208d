"""Pulseq files written by pypulseq: read back, simulated, and compared with sequences made by hand."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastqmri.core import FileError, Fingerprinting
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.io import read_pulseq, read_schedule
from fastqmri.io.pulseq import fingerprinting_of
from fastqmri.physics.signal import pulse_shapes
from fastqmri.physics.spins import BlochSignal, Delay, Ensemble, Pulse, PulseSequence, Readout, compose
from fastqmri.physics.spins.sequence import trapezoid

pp = pytest.importorskip("pypulseq")
SYSTEM = {
    "max_grad": 40,
    "grad_unit": "mT/m",
    "max_slew": 150,
    "slew_unit": "T/m/s",
    "rf_dead_time": 0,
    "rf_ringdown_time": 0,
    "adc_dead_time": 0,
}
TISSUE = torch.tensor([[1.0, 1.0], [0.8, 1.3], [0.06, 0.1], [1.0, 0.9], [0.0, 12.0]], dtype=torch.float64)


def write(path: Path, build: Callable[[Any, Any], None], **more: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        system = pp.Opts(**SYSTEM)
        sequence = pp.Sequence(system)
        build(sequence, system)
        sequence.set_definition("TotalDuration", sum(sequence.block_durations.values()))
        sequence.write(str(path), **more)
    return path


def spin_echo(sequence: Any, system: Any) -> None:
    pulse, select, rephase = pp.make_sinc_pulse(
        math.radians(80),
        duration=2e-3,
        slice_thickness=5e-3,
        apodization=0.5,
        time_bw_product=4,
        freq_offset=300,
        phase_offset=0.4,
        system=system,
        return_gz=True,
        use="excitation",
    )
    refocus = pp.make_block_pulse(math.pi, duration=0.5e-3, system=system, phase_offset=1.1, use="refocusing")
    read = pp.make_trapezoid("x", flat_area=500, flat_time=3.2e-3, system=system)
    adc = pp.make_adc(32, duration=3.2e-3, delay=read.rise_time, phase_offset=0.4, system=system)
    sequence.add_block(pulse, select)
    sequence.add_block(rephase)
    sequence.add_block(pp.make_delay(5e-3))
    sequence.add_block(refocus)
    sequence.add_block(pp.make_delay(4e-3))
    sequence.add_block(read, adc)
    sequence.add_block(
        pp.make_arbitrary_grad("y", 2e5 * np.sin(np.linspace(0, np.pi, 80)), 0, 0, system=system)
    )
    sequence.add_block(refocus)
    sequence.add_block(pp.make_delay(3e-3), pp.make_adc(1, duration=1e-4, delay=2e-3, system=system))


def by_hand() -> PulseSequence:
    thick = 4 / (2e-3 * 5e-3) / GYROMAGNETIC_RATIO
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        system = pp.Opts(**SYSTEM)
        _, select, rephase = pp.make_sinc_pulse(
            1.0,
            duration=2e-3,
            slice_thickness=5e-3,
            time_bw_product=4,
            system=system,
            return_gz=True,
            use="excitation",
        )
    shape = tuple(complex(v) for v in pulse_shapes.sinc(2000, 4.0, "hann").tolist())
    ramp = trapezoid((0.0, 0.0, thick / 2), 0.0, select.rise_time)
    back = rephase.amplitude / GYROMAGNETIC_RATIO
    lobe = trapezoid((0.0, 0.0, back), rephase.rise_time, rephase.flat_time, rephase.fall_time)
    amplitude = 500 / 3.2e-3 / GYROMAGNETIC_RATIO
    rise = round(amplitude * GYROMAGNETIC_RATIO / system.max_slew / 1e-5 + 0.4999) * 1e-5
    half = trapezoid((amplitude * (1.6e-3 + rise / 2) / (1.6e-3 + rise), 0.0, 0.0), 0.0, 1.6e-3 + rise)
    samples = 2e5 * np.sin(np.linspace(0, np.pi, 80)) / GYROMAGNETIC_RATIO
    bump = samples.sum() * 1e-5 - 1e-5 * (samples[0] + samples[-1]) / 4
    cut = tuple(complex(v) for v in torch.ones(50).tolist())
    refocus = Pulse(math.pi, 0.5e-3, cut, 1.1)
    phase = 0.4 + math.pi * 300 * 2e-3
    return compose(
        ramp,
        Pulse(math.radians(80), 2e-3, shape, phase, 300.0, (0.0, 0.0, thick)),
        ramp,
        lobe,
        Delay(5e-3),
        refocus,
        Delay(4e-3),
        half,
        Readout(0.4),
        half,
        Delay(8e-4, (0.0, bump / 8e-4, 0.0)),
        refocus,
        Delay(2.05e-3),
        Readout(),
        Delay(0.95e-3),
    )


def test_a_file_simulates_like_the_sequence_made_by_hand(tmp_path: Path) -> None:
    found = read_pulseq(write(tmp_path / "a.seq", spin_echo), step=1e-6)
    hand = by_hand()
    np.testing.assert_allclose(found.readout_time, hand.readout_time, atol=2e-9)
    assert sum(found.duration) == pytest.approx(sum(hand.duration), abs=1e-8)
    for direction in ((0.0, 0.0, 1.0), (0.6, 0.64, 0.48)):
        places = Ensemble.line(41, 8e-3, direction)
        a, b = (BlochSignal(s, "complex", places)(TISSUE) for s in (found, hand))
        assert float(a.abs().max()) > 0.01
        assert float((a - b).abs().max()) < 1e-4  # amplitudes are written with six digits
    coarse = BlochSignal(read_pulseq(tmp_path / "a.seq"), "complex", places)(TISSUE)
    assert float((coarse - a).abs().max()) < 1e-3


def test_every_sample_of_the_readout(tmp_path: Path) -> None:
    found = read_pulseq(write(tmp_path / "a.seq", spin_echo), every_sample=True)
    assert found.contrasts == 33
    assert np.diff(found.readout_time)[:31] == pytest.approx(1e-4, rel=1e-6)


def train(sequence: Any, system: Any) -> None:
    spoiler = pp.make_trapezoid("z", area=2000, duration=2e-3, system=system)
    adc = pp.make_adc(10, duration=1e-3, system=system)
    sequence.add_block(pp.make_block_pulse(math.pi, duration=1e-3, system=system, use="inversion"))
    sequence.add_block(pp.make_delay(0.02))
    for i in range(6):
        angle = math.radians(10 + 5 * i)
        pulse = pp.make_block_pulse(
            angle, duration=1e-3, phase_offset=0.3 * i, system=system, use="excitation"
        )
        sequence.add_block(pulse)
        sequence.add_block(adc)
        sequence.add_block(spoiler)
        sequence.add_block(pp.make_delay(6e-3 + 1e-3 * i))


def test_a_fingerprinting_train_becomes_its_schedule(tmp_path: Path) -> None:
    path = write(tmp_path / "train.seq", train)
    found = read_schedule(path, Fingerprinting)
    assert isinstance(found, Fingerprinting)
    np.testing.assert_allclose(np.degrees(found.flip_angle), [10 + 5 * i for i in range(6)], rtol=1e-5)
    np.testing.assert_allclose(found.repetition_time[:5], [0.01 + 1e-3 * i for i in range(5)], atol=1e-8)
    np.testing.assert_allclose(found.echo_time, 1e-3, atol=1e-8)
    np.testing.assert_allclose(found.rf_phase, [0.3 * i for i in range(6)], atol=1e-5)
    assert found.inversion_time == pytest.approx(0.021, abs=1e-8)
    assert found.spoiling == "gradient"
    assert isinstance(read_schedule(path, PulseSequence), PulseSequence)


def test_other_sequences_are_no_fingerprinting_train(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="one readout after every excitation"):
        fingerprinting_of(read_pulseq(write(tmp_path / "a.seq", spin_echo)))


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_files_cut_short(signed: bool, share: float, tmp_path: Path) -> None:
    path = write(tmp_path / "a.seq", spin_echo)
    text = path.read_text()
    if not signed:
        text = text.partition("\n[SIGNATURE]")[0]
    path.write_text(text[: int(share * len(text))])
    with pytest.raises(FileError):
        read_pulseq(path)


def test_changed_files_and_other_versions(tmp_path: Path) -> None:
    path = write(tmp_path / "a.seq", spin_echo)
    text = path.read_text()
    path.write_text(text.replace("300", "301"))
    with pytest.raises(FileError, match="signature"):
        read_pulseq(path)
    path.write_text(text.partition("\n[SIGNATURE]")[0].replace("minor", "minor 1"))
    with pytest.raises(FileError, match="format"):
        read_pulseq(path)
    path.write_text("hello")
    with pytest.raises(FileError, match="VERSION"):
        read_pulseq(path)
    with pytest.raises(FileError, match="cannot be read"):
        read_pulseq(tmp_path / "none.seq")


def test_without_signature_and_without_readout(tmp_path: Path) -> None:
    path = write(tmp_path / "a.seq", spin_echo, create_signature=False)
    assert read_pulseq(path).contrasts == 2
    silent = write(tmp_path / "b.seq", lambda s, system: s.add_block(pp.make_delay(0.01)))
    with pytest.raises(FileError, match="no ADC"):
        read_pulseq(silent)


def test_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.seq", spin_echo)
    monkeypatch.setitem(__import__("sys").modules, "pypulseq", None)
    with pytest.raises(FileError, match="pulseq"):
        read_pulseq(path)
