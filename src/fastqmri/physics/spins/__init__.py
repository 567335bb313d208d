"""Simulated signals: extended phase graphs, Bloch, Bloch-Torrey, Bloch-McConnell; sequences and their schedules."""

from fastqmri.physics.spins.fingerprints import FingerprintingSignal
from fastqmri.physics.spins.schedules import SCHEDULES, schedule

__all__ = ["SCHEDULES", "FingerprintingSignal", "schedule"]
