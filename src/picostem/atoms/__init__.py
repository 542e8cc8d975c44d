"""Atoms of an atomically resolved image: where they are, how bright, and how well that is known."""
