"""Labelled harmonics of stacks with known slips, for networks to learn from."""
