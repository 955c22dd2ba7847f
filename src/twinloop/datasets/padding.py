"""Series of unequal length as one array, ready for a compiled simulation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from twinloop.datasets.video import ChunkSizes


@dataclass(frozen=True)
class Padded:
    """Series in rows; `length` says how many samples of each are real, the rest repeats `fill` or the last sample."""

    values: Float32[np.ndarray, "series samples *axes"]
    length: Int64[np.ndarray, " series"]


def pad(series: Sequence[np.ndarray], fill: float | None = None) -> Padded:
    """Series along their first axis as one array; without `fill` the last sample is repeated.

    Raises ValueError for no series, or one without a sample.
    """
    length = np.array([len(one) for one in series], dtype=np.int64)
    if len(length) == 0 or length.min() == 0:
        raise ValueError("padding needs at least one series, and at least one sample in each")
    longest = int(length.max())
    rows = []
    for one in series:
        missing = longest - len(one)
        last = one[-1] if fill is None else np.full_like(one[-1], fill)
        rows.append(np.concatenate([one, np.repeat(last[None], missing, axis=0)]))
    return Padded(np.stack(rows).astype(np.float32), length)


def pad_chunks(videos: Sequence[ChunkSizes]) -> Padded:
    """Chunk bits of videos as [videos, seconds, versions], 0 after the end. Raises ValueError as `pad` does."""
    return pad([video.chunk_bits.T for video in videos], fill=0.0)
