"""Stackings by a trained network: from the lattice harmonics of windows to slips with their uncertainty."""
