"""Simulated swipes against the retention curves that they were drawn from."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from twinloop.simulator import Params

MOST_CLASSES = 8
_FEWEST_VIEWS = 30


def retention_table(params: Params, class_names: tuple[str, ...], users: Path) -> pa.Table | None:
    """Survival by second of the most watched hazard classes, simulated beside the curve they follow, or None without
    views.

    Simulated: share of finished views of the class that reached each second, from the recorded users' `last_watch_s`;
    every viewer counts alike, however often it watched the class, as in the data. The curve is the mean over viewers'
    factors, E_f[exp(-f H)].
    """
    rows = pq.read_table(users, columns=["user", "slot", "last_watch_s", "last_class", "swipes"])
    columns = {name: rows[name].to_numpy() for name in rows.column_names}
    order = np.lexsort((columns["slot"], columns["user"]))
    user, watched, kind = (columns[name][order] for name in ("user", "last_watch_s", "last_class"))
    ended = np.zeros(len(user), bool)
    ended[1:] = (user[1:] == user[:-1]) & ((watched[1:] != watched[:-1]) | (kind[1:] != kind[:-1]))
    user, kind, watched = user[ended], kind[ended].astype(int), watched[ended]
    classes, views = np.unique(kind[kind >= 0], return_counts=True)
    chosen = classes[np.argsort(-views)][:MOST_CLASSES]
    chosen = [row for row in chosen if views[classes == row][0] >= _FEWEST_VIEWS]
    if not chosen:
        return None
    parts = [_one_class(params, class_names, int(row), user[kind == row], watched[kind == row]) for row in chosen]
    return pa.concat_tables(parts)


def _one_class(
    params: Params, class_names: tuple[str, ...], row: int, user: np.ndarray, watched: np.ndarray
) -> pa.Table:
    length = np.asarray(params.catalogue.length_s)[np.asarray(params.catalogue.video_class) == row].max()
    seconds = np.arange(int(np.ceil(length)) + 1)
    hazard = np.asarray(params.viewers.hazard, np.float64)[row, : len(seconds) - 1]
    _, viewer, views = np.unique(user, return_inverse=True, return_counts=True)
    reached = watched[None, :] >= seconds[:, None] - 1e-3
    simulated = np.average(reached, axis=1, weights=1.0 / views[viewer])
    return pa.table(
        {
            "class": np.full(len(seconds), row, np.int32),
            "name": [class_names[row]] * len(seconds),
            "second": seconds.astype(np.int32),
            "data_survival": _survival(hazard, float(params.viewers.user_factor_spread)).astype(np.float32),
            "simulated_survival": simulated.astype(np.float32),
            "count": np.full(len(seconds), len(watched), np.int32),
        }
    )


def _survival(hazard: np.ndarray, spread: float) -> np.ndarray:
    node, weight = np.polynomial.hermite_e.hermegauss(40)
    factor = np.exp(spread * node - spread**2 / 2)
    cumulative = np.concatenate([[0.0], -np.cumsum(np.log1p(-np.minimum(hazard, 1.0 - 1e-9)))])
    return np.exp(-cumulative[:, None] * factor[None, :]) @ (weight / weight.sum())
