"""Pulseq files (.seq): what the scanner was told, to the microsecond."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastqmri.core import FileError, Fingerprinting
from fastqmri.core.units import GYROMAGNETIC_RATIO
from fastqmri.physics.spins.sequence import (
    Delay,
    Part,
    Pulse,
    PulseSequence,
    Readout,
    Vector,
    compose,
)

_VERSIONS = range(2, 6)  # minor, of major version 1
_TICK = 1e-9  # s; times closer than this are the same
_INVERTING = math.radians(150)
_DIGITS = 12


def read_pulseq(path: str | Path, *, step: float = 10e-6, every_sample: bool = False) -> PulseSequence:
    """A Pulseq file as a sequence: pulses with their shapes, frequencies and phases, gradients, delays, readouts.

    Gradients are exact: their means over the steps of pulses, their areas elsewhere.

    Args:
        path: of the file, format 1.2 to 1.5.
        step: length of the steps that pulses are cut into, s; shapes are averaged over them.
        every_sample: read every sample of an ADC event, not just the middle of it.

    Raises:
        FileError: no file, cut short, changed, of another version, or without pypulseq to read it.
        AcquisitionError, PlausibilityError: a sequence that cannot be simulated.
    """
    path = Path(path)
    loaded = _load(path)
    ppm = 1e-6 * float(loaded.system.gamma) * float(loaded.system.B0)
    parts: list[Part] = []
    try:
        for number in loaded.block_events:
            parts += _block(loaded.get_block(number), step, every_sample, ppm)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise FileError(
            f"{path}, block {number}",
            f"it uses an event that the file does not define ({error}).",
            "Write the file again; it may have been cut short.",
        ) from error
    total = loaded.definitions.get("TotalDuration")
    found = sum(part.duration for part in parts if isinstance(part, Pulse | Delay))
    if total is not None and abs(float(total) - found) > 1e-5 + 1e-6 * found:
        raise FileError(
            f"{path}: {found:g} s of blocks",
            f"its definitions promise {float(total):g} s.",
            "Write the file again; it may have been cut short.",
        )
    if not any(isinstance(part, Readout) for part in parts):
        raise FileError(f"{path}: no ADC event", "it reads no signal.", "Use a file of a whole acquisition.")
    return compose(parts)


def fingerprinting_of(sequence: PulseSequence) -> Fingerprinting:
    """Angles and times of a train in which each excitation is followed by one readout, after an optional inversion.

    Times count from the middles of the pulses. Gradients left in a repetition make it gradient-spoiled.

    Raises:
        FileError: a sequence that is no such train.
    """
    clock, pulses, readouts = 0.0, [], dict(zip(sequence.readout, sequence.receiver_phase, strict=True))
    moments: list[np.ndarray] = []
    echoes: list[list[float]] = []
    for event, (duration, angle) in enumerate(zip(sequence.duration, sequence.flip_angle, strict=True)):
        if angle:
            pulses.append((clock + duration / 2, angle, sequence.phase[event]))
            echoes.append([])
            moments.append(np.zeros(3))
        clock += duration
        if moments:
            moments[-1] += duration * np.array(sequence.gradient[event])
        if event + 1 in readouts and echoes:
            echoes[-1].append(clock)
    inverted = bool(pulses) and not echoes[0] and pulses[0][1] > _INVERTING
    first = 1 if inverted else 0
    counts = {len(times) for times in echoes[first:]}
    if len(pulses) < first + 2 or counts != {1}:
        raise FileError(
            f"a sequence of {len(pulses)} pulses with {sorted(counts)} readouts after each",
            "a fingerprinting train has one readout after every excitation.",
            "Simulate it as it is, with the model bloch.",
        )
    times = [time for time, _, _ in pulses] + [clock]
    kept = pulses[first:]
    repetitions = [after - before for before, after in zip(times[first:-1], times[first + 1 :], strict=True)]
    spoiled = any(float(np.abs(moment).max()) > 1e-9 for moment in moments[first:-1])
    return Fingerprinting(
        flip_angle=tuple(angle for _, angle, _ in kept),
        repetition_time=tuple(repetitions),
        echo_time=tuple(echo[0] - time for echo, (time, _, _) in zip(echoes[first:], kept, strict=True)),
        rf_phase=tuple(math.remainder(phase, 2 * math.pi) for _, _, phase in kept),
        spoiling="gradient" if spoiled else "balanced",
        inversion_time=times[1] - times[0] if inverted else None,
    )


def _load(path: Path) -> Any:
    """The file as pypulseq reads it, once it is known to be whole."""
    try:
        import pypulseq
    except ImportError as error:
        raise FileError(
            f"{path}", "reading Pulseq files needs pypulseq.", "pip install 'fastqmri[pulseq]'."
        ) from error
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path}", f"it cannot be read ({error}).", "Give a Pulseq file.") from error
    _check(path, text)
    with tempfile.TemporaryDirectory() as folder:
        # pypulseq waits for ever for the end of a shape that the file's end has swallowed
        copy = Path(folder) / "copy.seq"
        copy.write_text(text.rstrip() + "\n\n", encoding="utf-8")
        loaded = pypulseq.Sequence()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded.read(str(copy))
        except Exception as error:  # whatever pypulseq makes of a broken file
            raise FileError(
                f"{path}", f"pypulseq does not understand it ({error}).", "Write the file again."
            ) from error
    return loaded


def _check(path: Path, text: str) -> None:
    version = re.search(r"\[VERSION\]\s+major (\d+)\s+minor (\d+)", text)
    if version is None or "[BLOCKS]" not in text:
        raise FileError(
            f"{path}", "it has no [VERSION] or no [BLOCKS].", "Give a Pulseq file, or write it again."
        )
    major, minor = int(version[1]), int(version[2])
    if major != 1 or minor not in _VERSIONS:
        raise FileError(
            f"{path}: Pulseq format {major}.{minor}",
            f"formats 1.{_VERSIONS.start} to 1.{_VERSIONS.stop - 1} are known here.",
            "Write the sequence in one of them.",
        )
    content, _, signature = text.partition("\n[SIGNATURE]")
    found = re.search(r"^Hash ([0-9a-f]{32})\s*$", signature, re.MULTILINE)
    if found is not None:
        if hashlib.md5(content.encode("utf-8"), usedforsecurity=False).hexdigest() != found[1]:
            raise FileError(
                f"{path}",
                "its content is not what its signature was made of.",
                "Write the file again; after a wanted change, remove its [SIGNATURE] section.",
            )
        return
    shapes = content.partition("[SHAPES]")[2]
    for shape in re.split(r"^shape_id ", shapes, flags=re.MULTILINE)[1:]:
        number, _, rows = shape.partition("\n")
        count, *samples = re.sub(r"^num_samples ", "", rows.strip()).split()
        if not count.isdigit() or _length(samples, int(count)) != int(count):
            raise FileError(
                f"{path}, shape {number}",
                "it holds fewer samples than it says.",
                "Write the file again; it was cut short.",
            )


def _length(samples: list[str], count: int) -> int:
    """Samples of a shape: equal neighbours are followed by how often they come again."""
    if len(samples) == count:
        return count
    total, i = 0, 0
    while i < len(samples):
        if i + 2 < len(samples) and samples[i] == samples[i + 1]:
            total += 2 + int(float(samples[i + 2]))
            i += 3
        else:
            total += 1
            i += 1
    return total


def _block(block: Any, step: float, every_sample: bool, ppm: float) -> list[Part]:
    """A block cut where something begins, is read, or ends."""
    gradients = [_Gradient(getattr(block, name, None)) for name in ("gx", "gy", "gz")]
    end = float(block.block_duration)
    radio, adc = getattr(block, "rf", None), getattr(block, "adc", None)
    cuts: list[tuple[float, Readout | None]] = []
    if adc is not None:
        count, dwell = int(adc.num_samples), float(adc.dwell)
        places = [i + 0.5 for i in range(count)] if every_sample else [count / 2]
        frequency = float(adc.freq_offset) + ppm * float(getattr(adc, "freq_ppm", 0.0))
        for place in places:
            time = place * dwell
            phase = float(adc.phase_offset) + 2 * math.pi * frequency * time
            cuts.append((float(adc.delay) + time, Readout(phase)))
    begin = stop = -1.0
    if radio is not None and float(np.abs(radio.signal).max()) > 0:
        begin = float(radio.delay)
        stop = begin + float(radio.shape_dur)
    parts: list[Part] = []
    clock = 0.0
    edges = sorted([*cuts, *([(begin, None), (stop, None)] if stop > begin else []), (end, None)], key=_first)
    for time, readout in edges:
        if time - clock > _TICK:
            if abs(clock - begin) < _TICK and abs(time - stop) < _TICK:
                parts.append(_pulse(radio, gradients, clock, time, step, ppm))
            else:
                parts.append(Delay(time - clock, _mean(gradients, clock, time)))
            clock = time
        if readout is not None:
            parts.append(readout)
    return parts


def _first(edge: tuple[float, Readout | None]) -> float:
    return edge[0]


def _pulse(
    radio: Any, gradients: list[_Gradient], begin: float, end: float, step: float, ppm: float
) -> Pulse:
    duration = end - begin
    count = max(1, round(duration / step))
    edges = np.linspace(0.0, duration, count + 1)
    time, signal = np.asarray(radio.t, float), np.asarray(radio.signal, complex)
    raster = time[0] * 2
    if raster > 0 and np.allclose(np.diff(time), raster, rtol=1e-3):  # samples in the middle of equal steps
        known = np.arange(len(time) + 1) * raster
        sums = np.concatenate([[0.0], np.cumsum(signal) * raster])
        at = np.interp(edges, known, sums.real) + 1j * np.interp(edges, known, sums.imag)
        samples = np.diff(at) / np.diff(edges)
    else:  # straight lines between nodes
        inside = edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(16) + 0.5) / 16
        samples = (np.interp(inside, time, signal.real) + 1j * np.interp(inside, time, signal.imag)).mean(1)
    peak = float(np.abs(samples).max())
    shape = torch.from_numpy(np.round(samples / peak, _DIGITS))
    frequency = float(radio.freq_offset) + ppm * float(getattr(radio, "freq_ppm", 0.0))
    phase = float(radio.phase_offset) + ppm * float(getattr(radio, "phase_ppm", 0.0))
    means = np.array([_mean(gradients, begin + a, begin + b) for a, b in itertools.pairwise(edges)])
    largest = np.abs(means).max(0)
    gradient: Vector = tuple(float(v) for v in largest)  # type: ignore[assignment]
    factors = np.round(means / np.where(largest > 0, largest, 1.0), _DIGITS)
    constant = bool((factors == factors[0]).all())
    if constant:
        x, y, z = means[0].tolist()
        gradient = (x, y, z)
    return Pulse.of_amplitude(
        peak,
        duration,
        shape,
        phase=phase + math.pi * frequency * duration,  # files count the phase from the beginning
        frequency=frequency,
        gradient=gradient,
        gradient_shape=None if constant else tuple((a, b, c) for a, b, c in factors.tolist()),
    )


class _Gradient:
    """Area of one axis' gradient since the beginning of its block, in T/m s."""

    def __init__(self, event: Any) -> None:
        if event is None:
            self.time, self.value = np.array([0.0]), np.array([0.0])
        elif event.type == "trap":
            lengths = [
                float(event.delay),
                float(event.rise_time),
                float(event.flat_time),
                float(event.fall_time),
            ]
            self.time = np.cumsum(lengths)
            self.value = np.array([0.0, 1.0, 1.0, 0.0]) * float(event.amplitude)
        else:
            inner, wave = np.asarray(event.tt, float), np.asarray(event.waveform, float)
            length = float(event.shape_dur)
            first, last = float(event.first), float(event.last)
            before = [(0.0, first)] if inner[0] > _TICK else []
            after = [(length, last)] if inner[-1] < length - _TICK else []
            nodes = [*before, *zip(inner, wave, strict=True), *after]
            self.time = np.array([float(event.delay) + t for t, _ in nodes])
            self.value = np.array([v for _, v in nodes])
        self.value = self.value / GYROMAGNETIC_RATIO
        steps = np.diff(self.time) * (self.value[1:] + self.value[:-1]) / 2
        self.area = np.concatenate([[0.0], np.cumsum(steps)])

    def until(self, time: float) -> float:
        """Area up to a time."""
        if time <= self.time[0]:
            return 0.0
        i = min(int(np.searchsorted(self.time, time, side="right")) - 1, len(self.time) - 1)
        if i == len(self.time) - 1:
            return float(self.area[-1])
        span = self.time[i + 1] - self.time[i]
        share = (time - self.time[i]) / span
        middle = self.value[i] + (self.value[i + 1] - self.value[i]) * share / 2
        return float(self.area[i] + (time - self.time[i]) * middle)


def _mean(gradients: list[_Gradient], begin: float, end: float) -> Vector:
    x, y, z = ((g.until(end) - g.until(begin)) / (end - begin) for g in gradients)
    return x, y, z
