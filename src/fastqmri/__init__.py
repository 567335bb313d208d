"""fastqmri: quantitative MR maps from few contrasts, with the trust that each number deserves.

Everything is a piece of one equation, or a way to invert it::

    y_i = E_i A(x, t_i) + noise

x are tissue parameters (`ParameterMaps`), t what the scanner was told (`Acquisition`), A the spin
physics (`SignalModel`), E the encoding, y what was measured (`Measurement`), and every way back from
y to x is an `Estimator`.
"""

from importlib.metadata import version

from fastqmri.core import (
    Acquisition,
    Estimator,
    FastqmriError,
    Flag,
    Measurement,
    Parameter,
    ParameterMaps,
)

__version__ = version("fastqmri")

__all__ = [
    "Acquisition",
    "Estimator",
    "FastqmriError",
    "Flag",
    "Measurement",
    "Parameter",
    "ParameterMaps",
    "__version__",
]
