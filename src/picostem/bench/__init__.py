"""Measurements of the package itself: how far its answers are from the truth, and how fast they come."""
