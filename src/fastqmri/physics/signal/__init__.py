"""Closed-form signal models."""

from fastqmri.physics.signal.diffusion import ApparentDiffusion, DiffusionTensor, IntravoxelIncoherentMotion
from fastqmri.physics.signal.magnetization_transfer import (
    BalancedTransferSignal,
    RamaniSignal,
    YarnykhSignal,
)
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
    "BalancedTransferSignal",
    "BiexponentialDecay",
    "ComplexGradientEcho",
    "Derived",
    "DiffusionTensor",
    "ExponentialDecay",
    "IntravoxelIncoherentMotion",
    "InversionRecoverySignal",
    "LookLockerSignal",
    "RamaniSignal",
    "Separable",
    "SharedDecay",
    "SignalModel",
    "SpinEchoTrain",
    "SpoiledGradientEcho",
    "YarnykhSignal",
]
