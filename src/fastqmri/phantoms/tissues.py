"""What tissues of the brain measure at 1.5 T and 3 T."""

from __future__ import annotations

from collections.abc import Mapping

from fastqmri.core import PlausibilityError
from fastqmri.phantoms.anatomy import CSF, GREY, VESSELS, WHITE

LESION = "lesion"
REFERENCES = ("stanisz2005", "wansapura1999", "peters2007", "kwan1999")
_PROPERTIES = ("M0", "T1", "T2", "T2star", "F", "kr", "T2r", "MTsat", "ADC", "Chi")
_TABLE: Mapping[float, Mapping[str, tuple[float, ...]]] = {
    3.0: {
        GREY: (0.86, 1.331, 0.110, 0.066, 0.050, 40.0, 9.1e-6, 1.6, 0.8e-3, 0.02),
        WHITE: (0.77, 0.832, 0.0796, 0.0532, 0.139, 23.0, 10.0e-6, 3.5, 0.7e-3, -0.03),
        CSF: (1.0, 4.0, 2.0, 0.5, 0.001, 40.0, 9.1e-6, 0.05, 3.0e-3, 0.019),
        VESSELS: (0.9, 1.932, 0.275, 0.03, 0.01, 40.0, 9.1e-6, 0.3, 1.5e-3, 0.19),
        "caudate": (0.84, 1.45, 0.095, 0.0413, 0.06, 35.0, 9.1e-6, 1.8, 0.75e-3, 0.044),
        "putamen": (0.83, 1.35, 0.085, 0.0315, 0.07, 35.0, 9.1e-6, 1.9, 0.7e-3, 0.038),
        "globus pallidus": (0.77, 1.05, 0.060, 0.024, 0.11, 28.0, 9.5e-6, 2.8, 0.75e-3, 0.1305),
        "red nucleus": (0.78, 1.05, 0.065, 0.030, 0.11, 28.0, 9.5e-6, 2.8, 0.7e-3, 0.10),
        "substantia nigra": (0.78, 1.10, 0.062, 0.027, 0.11, 28.0, 9.5e-6, 2.8, 0.7e-3, 0.111),
        LESION: (0.9, 1.35, 0.150, 0.085, 0.07, 28.0, 9.8e-6, 1.8, 1.1e-3, 0.0),
    },
    1.5: {
        GREY: (0.86, 1.124, 0.095, 0.084, 0.050, 40.0, 9.1e-6, 1.6, 0.8e-3, 0.02),
        WHITE: (0.77, 0.884, 0.072, 0.0662, 0.139, 23.0, 10.0e-6, 3.5, 0.7e-3, -0.03),
        CSF: (1.0, 4.0, 2.0, 0.8, 0.001, 40.0, 9.1e-6, 0.05, 3.0e-3, 0.019),
        VESSELS: (0.9, 1.441, 0.290, 0.06, 0.01, 40.0, 9.1e-6, 0.3, 1.5e-3, 0.19),
        "caudate": (0.84, 1.15, 0.095, 0.0588, 0.06, 35.0, 9.1e-6, 1.8, 0.75e-3, 0.044),
        "putamen": (0.83, 1.05, 0.088, 0.0555, 0.07, 35.0, 9.1e-6, 1.9, 0.7e-3, 0.038),
        "globus pallidus": (0.77, 0.85, 0.068, 0.042, 0.11, 28.0, 9.5e-6, 2.8, 0.75e-3, 0.1305),
        "red nucleus": (0.78, 0.85, 0.072, 0.048, 0.11, 28.0, 9.5e-6, 2.8, 0.7e-3, 0.10),
        "substantia nigra": (0.78, 0.9, 0.070, 0.045, 0.11, 28.0, 9.5e-6, 2.8, 0.7e-3, 0.111),
        LESION: (0.9, 1.2, 0.150, 0.11, 0.07, 28.0, 9.8e-6, 1.8, 1.1e-3, 0.0),
    },
}


def tissue_properties(name: str, field_strength: float = 3.0) -> dict[str, float]:
    """M0 (relative to water), T1, T2, T2star [s], F, kr [1/s], T2r [s], MTsat [%], ADC [mm²/s], Chi [ppm] of a tissue.

    From the literature: T1 and T2 of grey and white matter at 3 T (Wansapura 1999) and 1.5 T (Stanisz 2005, in vitro),
    of blood (Stanisz 2005); T2star of grey and white matter, caudate and putamen (Peters 2007); proton densities of
    grey and white matter and fluid (Kwan 1999, BrainWeb's). Transfer in grey and white matter follows Stanisz 2005 at
    3 T and is used at both fields. Susceptibilities are those of public simulators of susceptibility mapping. All else
    is typical, our choice: fluid but for its density, the other nuclei, lesions, MTsat, ADC, T2star of blood.

    Source: Stanisz 2005; Wansapura 1999; Peters 2007; Kwan 1999.

    Args:
        name: of the tissue.
        field_strength: 1.5 or 3 T.

    Raises:
        PlausibilityError: another field strength.
    """
    if field_strength not in _TABLE:
        raise PlausibilityError(
            f"tissue at {field_strength:g} T", "values are known for 1.5 T and 3 T.", "Choose one of these."
        )
    return dict(zip(_PROPERTIES, _TABLE[field_strength][name], strict=True))
