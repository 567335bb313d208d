"""Closed-form signal models."""

from fastqmri.physics.signal.diffusion import ApparentDiffusion, DiffusionTensor, IntravoxelIncoherentMotion
from fastqmri.physics.signal.field_mapping import ActualFlipAngleSignal, DoubleAngleSignal, PhaseEvolution
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
from fastqmri.physics.signal.t2_distribution import T2Distribution
from fastqmri.physics.signal.transfer import MultiParameter, TransferRatio, TransferSaturation
from fastqmri.physics.signal.z_spectrum import LorentzianPools, WasabiSignal, ZAsymmetry

__all__ = [
    "ActualFlipAngleSignal",
    "ApparentDiffusion",
    "BalancedTransferSignal",
    "BiexponentialDecay",
    "ComplexGradientEcho",
    "Derived",
    "DiffusionTensor",
    "DoubleAngleSignal",
    "ExponentialDecay",
    "IntravoxelIncoherentMotion",
    "InversionRecoverySignal",
    "LookLockerSignal",
    "LorentzianPools",
    "MultiParameter",
    "PhaseEvolution",
    "RamaniSignal",
    "Separable",
    "SharedDecay",
    "SignalModel",
    "SpinEchoTrain",
    "SpoiledGradientEcho",
    "T2Distribution",
    "TransferRatio",
    "TransferSaturation",
    "WasabiSignal",
    "YarnykhSignal",
    "ZAsymmetry",
]
