"""Closed-form signal models."""

from fastqmri.physics.signal.diffusion import ApparentDiffusion, DiffusionTensor, IntravoxelIncoherentMotion
from fastqmri.physics.signal.model import Derived, Separable, SignalModel
from fastqmri.physics.signal.relaxometry import (
    BiexponentialDecay,
    ComplexGradientEcho,
    ExponentialDecay,
    InversionRecoverySignal,
    LookLockerSignal,
    SharedDecay,
    SpoiledGradientEcho,
)
from fastqmri.physics.signal.spin_echo_train import SpinEchoTrain

__all__ = [
    "ApparentDiffusion",
    "BiexponentialDecay",
    "ComplexGradientEcho",
    "Derived",
    "DiffusionTensor",
    "ExponentialDecay",
    "IntravoxelIncoherentMotion",
    "InversionRecoverySignal",
    "LookLockerSignal",
    "Separable",
    "SharedDecay",
    "SignalModel",
    "SpinEchoTrain",
    "SpoiledGradientEcho",
]
