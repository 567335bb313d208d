"""Numerics that know no MRI: batched least squares and their compiled forms."""
