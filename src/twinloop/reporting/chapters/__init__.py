"""Chapters that only some reports have, and the page of a study."""
