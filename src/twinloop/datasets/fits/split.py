"""Which files are fitted and which are kept for judging the fit."""

import hashlib

HELD_OUT_RULE = "held out where sha256(name) mod 3 = 0; name = file name without ending, or user id in decimal"


def held_out(name: str) -> bool:
    """True for the third of all names that no fit may see: sha256(name) mod 3 = 0."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") % 3 == 0
