"""Spin physics (A) and encoding (E)."""
