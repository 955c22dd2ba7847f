"""A decision as it is written down: what was proposed and by which verdict, who consented, what became of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from twinloop.decision import Appraisal
from twinloop.entities import Action
from twinloop.errors import TwinloopError
from twinloop.service.acting.dispatch import Mode
from twinloop.service.live import Picture
from twinloop.validation import RESULTS, Approved, Verdict

FINAL = frozenset(
    {"kept", "rejected", "expired", "superseded", "refused", "confirmed", "rolled_back", "failed", "applied"}
)
LEAST_CHANGE = 1e-3
"""A proposal that moves less of every cell and server than this is what stands already."""
Shares = dict[str, dict[str, float]]
"""Cell or server, then slice, to its share of the whole."""


LONGEST_COMMENT = 2000
_HELD = ("slice_active", "slice_bandwidth_hz", "slice_cycles_per_s", "slice_cache_bytes")


class DecisionError(TwinloopError):
    """A decision is not there, no longer waits for anybody, or may not be taken now."""


@dataclass
class Decision:
    """One decision: of a window's reservations, or (kind `slice`) on a tenant's order of a slice.

    `state`: kept (the standing decision was better, or is the same), waiting (for a person), approving (a person has
    consented, the loop is being asked), adopted (asked of the network), and the ends: confirmed (the network follows),
    applied (a slice's order), rejected, refused (no longer safe), superseded, expired, rolled_back, failed (the network
    did not follow, and what stood before is no longer safe).

    `proposals` has the verdict on every candidate of the window, the standing decision first: its score, whether it is
    safe, and what its method says of it. Satisfaction is the mean over `slots_before` slots before it was asked for and
    over `slots_after` slots after it was confirmed. `effect` is what later reports show, site by site. `withheld` are
    sites for which its order waits because they are silent, or waited when the others had confirmed it.
    """

    id: str
    made_s: float
    slot: int
    state: str
    mode: str
    kind: str = "reservation"
    verdict: str = ""
    code: int = 0
    score_proposed: float | None = None
    score_standing: float | None = None
    safety: list[str] = field(default_factory=list[str])
    proposals: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    largest_change: float = 0.0
    proposal: Shares = field(default_factory=dict[str, dict[str, float]])
    standing: Shares = field(default_factory=dict[str, dict[str, float]])
    slices: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    order: str | None = None
    why: str = ""
    by: str = ""
    comment: str = ""
    decided_s: float | None = None
    revision: int | None = None
    confirmed_s: float | None = None
    satisfaction_before: float | None = None
    slots_before: int = 0
    satisfaction_after: float | None = None
    slots_after: int = 0
    effect: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    withheld: list[str] = field(default_factory=list[str])
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def standing_slices(self) -> list[str]:
        """Names of the slices that stood when it was made."""
        return [name for name, told in self.slices.items() if told.get("active")]

    @property
    def automatic(self) -> bool:
        """Whether nobody was asked."""
        return any(step["by"] == "loop" and step["state"] == "adopted" for step in self.history)

    def text(self) -> str:
        """As it is kept."""
        return json.dumps(asdict(self))


def decision_of(text: str) -> Decision:
    """A decision as it was kept; what another version wrote besides is left out."""
    kept, known = json.loads(text), {entry.name for entry in fields(Decision)}
    return Decision(**{name: value for name, value in kept.items() if name in known})


def written(picture: Picture, verdict: Verdict, appraisals: Sequence[Appraisal], now_s: float, mode: Mode) -> Decision:
    """The decision of a window as the verdict has it; `waiting` where it asks for a change."""
    action = verdict.approved.action
    bandwidth = _shares(np.asarray(action.slice_bandwidth_hz), picture.cell_bandwidth_hz)
    cycles = _shares(np.asarray(action.slice_cycles_per_s), picture.server_cycles_per_s)
    before = (
        _shares(picture.reserved_bandwidth_hz, picture.cell_bandwidth_hz),
        _shares(picture.reserved_cycles_per_s, picture.server_cycles_per_s),
    )
    change = max(
        float(np.abs(new - old).max(initial=0.0)) for new, old in zip((bandwidth, cycles), before, strict=True)
    )
    chosen = int(verdict.code) == 0 and int(verdict.approved.policy) >= 0
    changes = chosen and change >= LEAST_CHANGE
    return Decision(
        id=name_of(now_s, str(picture.slot)),
        made_s=now_s,
        slot=picture.slot,
        state="waiting" if changes else "kept",
        mode=mode,
        verdict=RESULTS[int(verdict.code)],
        code=int(verdict.code),
        score_proposed=_known(verdict.score[1 + int(verdict.best)]),
        score_standing=_known(verdict.score[0]),
        safety=[_safe(code) for code in verdict.safety],
        proposals=_candidates(verdict, appraisals),
        largest_change=change,
        proposal=_by_name(picture, bandwidth, cycles),
        standing=_by_name(picture, *before),
        slices=slices_of(picture),
        why="the proposal is what stands already" if chosen and not changes else "",
    )


def held_by(approved: Approved) -> dict[str, Any]:
    """What slices hold by what was approved, as it is kept: by cell or server, then slice; Hz, cycles/s, bytes."""
    return {name: np.asarray(getattr(approved.action, name)).tolist() for name in _HELD}


def holds(approved: Approved, held: Mapping[str, Any]) -> bool:
    """Whether slices hold by what was approved what `held_by` told."""
    return all(np.allclose(np.asarray(getattr(approved.action, name)), held[name]) for name in _HELD)


def holding(action: Action, held: Mapping[str, Any]) -> Action:
    """`action` with slices that hold what `held_by` told."""
    kept = tuple(jnp.asarray(held[name], getattr(action, name).dtype) for name in _HELD)
    return eqx.tree_at(lambda a: tuple(getattr(a, name) for name in _HELD), action, kept)


def on_a_line(comment: str) -> str:
    """A comment on one line. Raises DecisionError where it is too long."""
    if len(comment) > LONGEST_COMMENT:
        raise DecisionError(f"a comment has at most {LONGEST_COMMENT} characters, not {len(comment)}")
    return " ".join("".join(c if c.isprintable() else " " for c in comment).split())


def name_of(now_s: float, last: str) -> str:
    """An id that sorts by time."""
    return f"{datetime.fromtimestamp(now_s, UTC):%Y%m%dT%H%M%S}-{last}"


def slices_of(picture: Picture) -> dict[str, dict[str, Any]]:
    """S-NSSAI of every slice of the scenario, and whether it stands."""
    rows = zip(picture.slices.ids, picture.slice_sst, picture.slice_sd, picture.slice_active, strict=True)
    return {name: {"sst": sst, "sd": sd, "active": bool(active)} for name, sst, sd, active in rows}


def _candidates(verdict: Verdict, appraisals: Sequence[Appraisal]) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    for number, (score, code) in enumerate(zip(verdict.score, verdict.safety, strict=True)):
        one: dict[str, Any] = {
            "candidate": "standing" if number == 0 else f"proposal {number}",
            "score": _known(score),
            "safety": _safe(code),
            "best": number == 1 + int(verdict.best),
        }
        if 0 < number <= len(appraisals):
            said = appraisals[number - 1]
            one |= {"worth": _known(jax.device_get(said.value)), "worth_bound": _known(jax.device_get(said.bound))}
        told.append(one)
    return told


def _safe(code: Any) -> str:
    return RESULTS[int(code)] if int(code) else "safe"


def _known(value: Any) -> float | None:
    """A number, None where it is not finite: JSON has no word for that."""
    number = float(value)
    return number if np.isfinite(number) else None


def _shares(held: NDArray[np.float32], whole: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(held / np.maximum(whole, 1e-9)[:, None], np.float32)


def _by_name(picture: Picture, bandwidth: NDArray[np.float32], cycles: NDArray[np.float32]) -> Shares:
    rows = [*zip(picture.cells.ids, bandwidth, strict=True), *zip(picture.servers.ids, cycles, strict=True)]
    return {
        pool: {name: round(float(share), 4) for name, share in zip(picture.slices.ids, shares, strict=True)}
        for pool, shares in rows
    }
