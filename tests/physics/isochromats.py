"""Magnetisation as a sum of isochromats, one rotation and one decay after the other: the truth of phase graphs."""

from __future__ import annotations

import numpy as np

COUNT = 512


class Isochromats:
    """Isochromats spread evenly over one winding of the gradient: transverse magnetisation (complex), longitudinal.

    A pulse of phase 0 turns full magnetisation into real positive signal, which makes its axis y.
    """

    def __init__(self, t1: float, t2: float, count: int = COUNT) -> None:
        self.t1, self.t2 = t1, t2
        self.place = 2 * np.pi * np.arange(count) / count
        self.across, self.along = np.zeros(count, complex), np.ones(count)

    def pulse(self, angle: float, phase: float = 0.0) -> None:
        """Turn about an axis of a phase."""
        m = self.across * np.exp(-1j * phase)
        x, y, z = m.real, m.imag, self.along
        x, z = np.cos(angle) * x + np.sin(angle) * z, np.cos(angle) * z - np.sin(angle) * x
        self.across, self.along = (x + 1j * y) * np.exp(1j * phase), z

    def wait(self, time: float) -> None:
        """Relax and recover."""
        self.across = self.across * np.exp(-time / self.t2)
        self.along = 1 - (1 - self.along) * np.exp(-time / self.t1)

    def wind(self, turns: float = 1.0) -> None:
        """One step of the gradient."""
        self.across = self.across * np.exp(1j * turns * self.place)

    def spoil(self) -> None:
        """Nothing transverse is left."""
        self.across = 0 * self.across

    def signal(self, phase: float = 0.0) -> complex:
        """Sum of the transverse magnetisation, as a receiver of that phase sees it."""
        return complex((self.across * np.exp(-1j * phase)).mean())


def fingerprints(
    schedule: object, t1: float, t2: float, b1: float = 1.0, efficiency: float = 1.0
) -> np.ndarray:
    """The images of a fingerprinting schedule, read off its fields one by one."""
    spins = Isochromats(t1, t2, 1 if schedule.spoiling == "balanced" else COUNT)
    starts, beat = {}, 0
    for number, length in enumerate(schedule.segment_length):
        starts[beat] = number
        beat += length
    clock, images = 0.0, []
    for n, angle in enumerate(schedule.flip_angle):
        if n == 0 and schedule.inversion_time is not None:
            spins.along = -efficiency * spins.along
            spins.wait(schedule.inversion_time)
        if n in starts:
            number = starts[n]
            due = sum(schedule.rr_interval[:number])
            spins.wait(due - clock)
            kind, time = schedule.preparation[number], schedule.preparation_time[number]
            if kind == "inversion":
                spins.spoil()
                spins.along = -efficiency * spins.along
                spins.wait(time)
            elif kind == "t2prep":
                spins.along = spins.along * np.exp(-time / t2)
                spins.spoil()
            clock = due + time
        phase = schedule.rf_phase[n]
        if schedule.spoiling == "rf":
            phase += schedule.phase_increment * n * (n + 1) / 2
        spins.pulse(b1 * angle, phase)
        spins.wait(schedule.echo_time[n])
        images.append(spins.signal(phase))
        spins.wait(schedule.repetition_time[n] - schedule.echo_time[n])
        clock += schedule.repetition_time[n]
        if schedule.spoiling != "balanced":
            spins.wind()
    return np.array(images)
