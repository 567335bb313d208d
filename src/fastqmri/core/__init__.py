"""The words everyone speaks."""

from fastqmri.core.acquisition import (
    Acquisition,
    DiffusionWeighted,
    InversionRecovery,
    LookLocker,
    MultiEchoGradientEcho,
    MultiEchoSpinEcho,
    Schedule,
    VariableFlipAngle,
    WeightedGradientEcho,
)
from fastqmri.core.errors import (
    AcquisitionError,
    DataError,
    FastqmriError,
    FileError,
    OutputError,
    PlausibilityError,
    ShapeError,
    SidecarError,
    UnitError,
    UnknownNameError,
    ValidityError,
)
from fastqmri.core.estimator import Estimator, Progress
from fastqmri.core.field_mapping import ActualFlipAngle, DoubleAngle
from fastqmri.core.fingerprinting import Fingerprinting
from fastqmri.core.magnetization_transfer import (
    BalancedMagnetizationTransfer,
    QuantitativeMagnetizationTransfer,
)
from fastqmri.core.measurement import Encoding, Measurement
from fastqmri.core.parameters import NOT_ESTIMATED, Flag, Parameter, ParameterMap, ParameterMaps
from fastqmri.core.pulsed_gradient import PulsedGradient
from fastqmri.core.refocusing import RefocusingTrain
from fastqmri.core.saturation import SaturationTransfer, ZSpectrum
from fastqmri.core.transfer import (
    MagnetizationTransferRatio,
    MagnetizationTransferSaturation,
    MultiParameterMapping,
)

__all__ = [
    "NOT_ESTIMATED",
    "Acquisition",
    "AcquisitionError",
    "ActualFlipAngle",
    "BalancedMagnetizationTransfer",
    "DataError",
    "DiffusionWeighted",
    "DoubleAngle",
    "Encoding",
    "Estimator",
    "FastqmriError",
    "FileError",
    "Fingerprinting",
    "Flag",
    "InversionRecovery",
    "LookLocker",
    "MagnetizationTransferRatio",
    "MagnetizationTransferSaturation",
    "Measurement",
    "MultiEchoGradientEcho",
    "MultiEchoSpinEcho",
    "MultiParameterMapping",
    "OutputError",
    "Parameter",
    "ParameterMap",
    "ParameterMaps",
    "PlausibilityError",
    "Progress",
    "PulsedGradient",
    "QuantitativeMagnetizationTransfer",
    "RefocusingTrain",
    "SaturationTransfer",
    "Schedule",
    "ShapeError",
    "SidecarError",
    "UnitError",
    "UnknownNameError",
    "ValidityError",
    "VariableFlipAngle",
    "WeightedGradientEcho",
    "ZSpectrum",
]
