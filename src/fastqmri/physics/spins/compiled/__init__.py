"""Compiled kernels of the simulators; imported where they are used, since numba is slow to load."""
