"""What people said of streaming sessions: waterloo4."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from twinloop.datasets.reading import Cell, Column, Loaded, Table, headed_table, load_each, number, set_folder, text_of
from twinloop.errors import DataError

CHUNK_S = 4.0
CHUNKS = 7
RATERS = {"hdtv": 32, "phone": 29, "uhdtv": 31}
_SCORE = Column("score", 0, 100)


@dataclass(frozen=True)
class RatedSession:
    """One streaming session of seven 4-s chunks and the opinions of every rater of its device.

    Raters keep their order inside a device. `mos` (0 to 100) is not exactly the mean of `scores`: the source screened
    outliers. `rebuffer_s[0]` is the start-up delay. `rate_bps` is the rate of the encoded chunk.
    """

    name: str
    mos: float
    scores: Float64[np.ndarray, " raters"]
    abr: str
    content: str
    codec: str
    device: str
    trace: int
    representation: Int64[np.ndarray, " chunks"]
    rebuffer_s: Float64[np.ndarray, " chunks"]
    rate_bps: Float64[np.ndarray, " chunks"]
    chunk_bits: Float64[np.ndarray, " chunks"]
    psnr_db: Float64[np.ndarray, " chunks"]
    ssim: Float64[np.ndarray, " chunks"]
    vmaf: Float64[np.ndarray, " chunks"]

    @property
    def rows(self) -> int:
        """Scores given."""
        return len(self.scores)


def load_opinions(data: Path) -> Loaded[RatedSession]:
    """Sessions of `waterloo4` with their logs; a bad row or log is a fault, the other sessions load.

    Raises DataError when the set or its table of scores is absent or is no table.
    """
    folder = set_folder(data, "waterloo4")
    path = folder / "data.csv"
    if not path.is_file():
        raise DataError(path, "no such file", "the table of sessions and scores")
    needed = ("streaming_log", "mos", "individual_scores", "abr", "content", "encoding_profile", "device", "trace")
    table = headed_table(path, text_of(path), needed)
    return load_each(range(len(table.cells)), lambda row: _session(folder, table, row))


def score_matrix(sessions: tuple[RatedSession, ...], device: str) -> Float64[np.ndarray, "raters sessions"]:
    """Scores of one device, a row a rater, a column a session in the given order."""
    return np.stack([session.scores for session in sessions if session.device == device], axis=1)


def _session(folder: Path, table: Table, row: int) -> RatedSession:
    only = Table(table.path, table.header, table.lines[row : row + 1], table.cells[row : row + 1])
    text = {name: only.cell(0, name) for name in only.header}
    scores = _scores(table.path, text["individual_scores"], text["device"])
    name = text["streaming_log"].text
    path = folder / "streaming_logs" / name
    log = headed_table(path, text_of(path), ("representation_index", "rebuffering_duration", "video_bitrate"))
    if len(log.cells) != CHUNKS:
        raise DataError(path, f"{len(log.cells)} chunks", f"{CHUNKS} chunks of 4 s", line=log.lines[-1])
    return RatedSession(
        name=path.stem,
        mos=number(table.path, text["mos"], Column("mos", 0, 100)),
        scores=scores,
        abr=text["abr"].text,
        content=text["content"].text,
        codec=text["encoding_profile"].text,
        device=text["device"].text,
        trace=int(only.integers(Column("trace", low=0))[0]),
        representation=log.integers(Column("representation_index", low=0)),
        rebuffer_s=log.numbers(Column("rebuffering_duration", low=0)),
        rate_bps=1e3 * log.numbers(Column("video_bitrate", low=0)),
        chunk_bits=8.0 * log.numbers(Column("chunk_size", low=1)),
        psnr_db=log.numbers(Column("psnr", 0, 120)),
        ssim=log.numbers(Column("ssim", -1, 1)),
        vmaf=log.numbers(Column("vmaf", 0, 100)),
    )


def _scores(path: Path, scores: Cell, device: Cell) -> Float64[np.ndarray, " raters"]:
    if device.text not in RATERS:
        expected = " or ".join(RATERS)
        raise DataError(path, f"device {device.text!r}", expected, line=device.line, column=device.column)
    if not (scores.text.startswith("[") and scores.text.endswith("]")):
        raise DataError(path, "no list of scores", "[95 83 ...]", line=scores.line, column=scores.column)
    texts = scores.text[1:-1].split()
    if len(texts) != RATERS[device.text]:
        expected = f"{RATERS[device.text]} scores for {device.text}"
        raise DataError(path, f"{len(texts)} scores", expected, line=scores.line, column=scores.column)
    return np.array([number(path, Cell(text, scores.line, scores.column), _SCORE) for text in texts])
