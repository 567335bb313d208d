"""Simulated signals: extended phase graphs, Bloch, Bloch-Torrey, Bloch-McConnell; sequences and their schedules."""

from fastqmri.physics.spins.bloch_signal import BlochSignal, Ensemble, SliceProfile, slice_profile
from fastqmri.physics.spins.exchange import ChemicalExchange, TwoPoolTransfer
from fastqmri.physics.spins.fingerprints import FingerprintingSignal
from fastqmri.physics.spins.refocusing import RefocusedEchoes
from fastqmri.physics.spins.restricted_diffusion import RestrictedDiffusion
from fastqmri.physics.spins.schedules import SCHEDULES, schedule
from fastqmri.physics.spins.sequence import Delay, Pulse, PulseSequence, Readout, Spoiler, compose

__all__ = [
    "SCHEDULES",
    "BlochSignal",
    "ChemicalExchange",
    "Delay",
    "Ensemble",
    "FingerprintingSignal",
    "Pulse",
    "PulseSequence",
    "Readout",
    "RefocusedEchoes",
    "RestrictedDiffusion",
    "SliceProfile",
    "Spoiler",
    "TwoPoolTransfer",
    "compose",
    "schedule",
    "slice_profile",
]
