"""Errors that say what was read, why it cannot be right, and what to do."""

from __future__ import annotations


class FastqmriError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        read: what was read, with file, field and value.
        why: why it cannot be right.
        remedy: what the user can do.
        code: machine-readable code; the class's own by default.
    """

    code = "FQ000"

    def __init__(self, read: str, why: str, remedy: str, *, code: str | None = None) -> None:
        self.read, self.why, self.remedy = read, why, remedy
        self.code = code or type(self).code
        super().__init__(f"[{self.code}] {read}\n  Why this can't be right: {why}\n  What to do: {remedy}")

    def __reduce__(self) -> tuple[object, ...]:  # the default would call cls(message) and fail
        return _rebuild, (type(self), self.read, self.why, self.remedy, self.code)


def _rebuild(cls: type[FastqmriError], read: str, why: str, remedy: str, code: str) -> FastqmriError:
    return cls(read, why, remedy, code=code)


class UnitError(FastqmriError):
    """A quantity without a unit, or with one of the wrong dimension."""

    code = "FQ101"


class PlausibilityError(FastqmriError):
    """A value no scanner could have been told: most often a unit mix-up."""

    code = "FQ102"


class AcquisitionError(FastqmriError):
    """Acquisition parameters that contradict each other or the model."""

    code = "FQ103"


class ValidityError(FastqmriError):
    """A measurement that a network was not trained for."""

    code = "FQ104"


class ShapeError(FastqmriError):
    """Arrays whose shapes or affines do not belong together."""

    code = "FQ201"


class DataError(FastqmriError):
    """Voxel values that no estimate can be made from."""

    code = "FQ202"


class FileError(FastqmriError):
    """A file that is missing, broken, or says something impossible."""

    code = "FQ301"


class SidecarError(FastqmriError):
    """A JSON sidecar that lacks a field or holds an unusable one."""

    code = "FQ302"


class OutputError(FastqmriError):
    """An output that cannot be written."""

    code = "FQ401"


class UnknownNameError(FastqmriError):
    """A model, method or file name that does not exist here."""

    code = "FQ501"
