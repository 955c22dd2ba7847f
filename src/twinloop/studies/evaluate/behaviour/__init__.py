"""Emulated viewers against people they never saw, and on the simulated campus."""
