"""From a request to what is found: which time, whom, where, and whether anything is known (3GPP TS 23.288, 6.1)."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from twinloop.service.analytics.events import EVENTS, Finding, Question, Rows, Scene, View, Window, current
from twinloop.service.analytics.identities import Identities
from twinloop.service.analytics.models import EventFilter, Requirement, TargetUe
from twinloop.service.analytics.problems import RefusalError, incorrect
from twinloop.service.analytics.settings import AnalyticsSettings
from twinloop.service.analytics.wire import bps_of
from twinloop.service.live import Picture

_SLACK_S = 2.0
_OF_PEOPLE = {"UE_MOBILITY", "UE_COMMUNICATION"}


@runtime_checkable
class Identity(Protocol):
    """Who asks."""

    @property
    def subject(self) -> str:
        """Unique and unchanging: it owns the subscriptions that it makes."""
        ...


Who = TypeVar("Who", bound=Identity)


@dataclass(frozen=True)
class Answer:
    """What was found of one event, about `window`, at `made_s` [epoch s]; at most `most` items are told."""

    window: Window
    made_s: float
    findings: tuple[Finding, ...]
    most: int

    @property
    def told(self) -> tuple[Finding, ...]:
        """What an answer holds; the others matter to thresholds."""
        return tuple(finding for finding in self.findings if finding.told)[: self.most]


@dataclass(frozen=True)
class Wish:
    """One event as it is asked for, in a request or a subscription. `throughputs` and `load_percent` are thresholds."""

    event: str
    narrowed: EventFilter
    target: TargetUe | None
    requirement: Requirement
    throughputs: tuple[str, ...] = ()
    load_percent: float | None = None


class Analytics(Generic[Who]):
    """The analytics of a network over its twins.

    `see` gives the twins as an identity may see them, and raises LookupError before there are any. Whatever an answer
    holds comes from that view. `now` gives epoch seconds.
    """

    def __init__(self, see: Callable[[Who], View], settings: AnalyticsSettings, now: Callable[[], float]) -> None:
        self.settings = settings
        self.identities = Identities(settings)
        self.now = now
        self._see = see

    def check(self, wish: Wish) -> None:
        """Raises RefusalError for what cannot be answered: unknown events, impossible times, nobody to answer for."""
        if wish.event not in EVENTS:
            raise incorrect("event-id", f"no analytics of {wish.event!r}; there are {', '.join(EVENTS)}")
        if wish.event in _OF_PEOPLE and not _names_somebody(wish.target):
            raise incorrect("tgt-ue", "name supis, or anyUe", missing=True)
        self._window(wish.requirement, self.now(), self.now())

    def ask(self, wish: Wish, identity: Who) -> Answer:
        """What the identity may know of what is asked.

        Nothing is found where nobody is meant. Raises RefusalError: what `check` refuses, 503 before the first slot,
        UNAVAILABLE_DATA where somebody is meant and nothing at all is known of them.
        """
        self.check(wish)
        try:
            view = self._see(identity)
        except LookupError:
            again = {"Retry-After": "2"}
            raise RefusalError(
                503, "NF_CONGESTION", "no slot has been lived yet", hint="ask again in a few seconds", headers=again
            ) from None
        picture, made_s = view.picture, self.now()
        window = self._window(wish.requirement, made_s, picture.time_s(float(picture.slot)))
        scene = Scene(picture, view, self.settings, window)
        question = self._question(wish, scene)
        if question is None:
            return Answer(window, made_s, (), 0)
        found = EVENTS[wish.event](scene, question, self.identities)
        if not found:
            raise self._unavailable(wish.event, window)
        return Answer(window, made_s, tuple(found), self._most(wish))

    def _most(self, wish: Wish) -> int:
        asked = wish.requirement.max_object_nbr
        return self.settings.most_items if not asked else min(asked, self.settings.most_items)

    def _window(self, requirement: Requirement, now_s: float, shown_s: float) -> Window:
        """The time that is asked about. `shown_s` is when the picture was taken."""
        start_s = None if requirement.start_ts is None else requirement.start_ts.timestamp()
        end_s = None if requirement.end_ts is None else requirement.end_ts.timestamp()
        if start_s is None:
            if end_s is None:
                return self._offset(requirement.offset_period, now_s, shown_s)
            start_s = end_s - self.settings.window_s if end_s <= now_s else now_s
        elif end_s is None:
            end_s = now_s if start_s < now_s else start_s + self.settings.window_s
        if end_s <= start_s:
            raise incorrect("ana-req", "endTs is not after startTs")
        if start_s < now_s - _SLACK_S and end_s > now_s + _SLACK_S:
            raise RefusalError(
                400,
                "BOTH_STAT_PRED_NOT_ALLOWED",
                "the window begins in the past and ends in the future",
                hint="ask for statistics up to now and for a prediction from now on, each by itself",
                params=(("ana-req", "startTs is in the past and endTs in the future"),),
            )
        if start_s >= now_s - _SLACK_S:
            return self._ahead(start_s, end_s, now_s, shown_s)
        oldest_s = now_s - self.settings.longest_window_s
        if end_s <= oldest_s:
            raise self._unavailable("statistics", Window("past", start_s, end_s))
        return Window("past", max(start_s, oldest_s), min(end_s, now_s))

    def _offset(self, offset: int | None, now_s: float, shown_s: float) -> Window:
        if not offset:
            return Window("now", shown_s, shown_s + self.settings.fresh_s)
        if offset > 0:
            return self._ahead(now_s, now_s + float(min(offset, 10**9)), now_s, shown_s)
        return Window("past", now_s - float(min(-offset, self.settings.longest_window_s)), now_s)

    def _ahead(self, start_s: float, end_s: float, now_s: float, shown_s: float) -> Window:
        """A window of the future, cut where predictions end."""
        last_s = max(now_s, shown_s) + self.settings.horizon_s
        if start_s >= last_s:
            raise RefusalError(
                self.settings.unavailable_status,
                "UNAVAILABLE_DATA",
                f"predictions reach {self.settings.horizon_s:.0f} s ahead, and the window begins later",
                hint="ask for a window that begins earlier",
            )
        return Window("future", start_s, min(end_s, last_s))

    def _unavailable(self, what: str, window: Window) -> RefusalError:
        words = {"past": "was recorded in that time", "now": "was reported lately", "future": "can be foretold"}
        return RefusalError(
            self.settings.unavailable_status,
            "UNAVAILABLE_DATA",
            f"{what}: nothing {words[window.tense]}",
            hint="see which attributes the twins have, and since when",
        )

    def _question(self, wish: Wish, scene: Scene) -> Question | None:
        """Whom and what the wish means among the twins that the scene shows; None where that is nobody."""
        narrowed, picture = wish.narrowed, scene.picture
        wanted = narrowed.snssais
        if narrowed.nsi_id_infos is not None:
            wanted = [info.snssai for info in narrowed.nsi_id_infos] + (wanted or [])
        slices = _instances(picture, self.identities.slices(picture, wanted), narrowed)
        cells = self.identities.cells(picture, narrowed.network_area)
        users = self._users(wish, scene, slices, cells)
        named = wish.target is not None and wish.target.supis is not None
        if named and wish.event == "USER_DATA_CONGESTION":
            serving = current(scene, "user", users, "serving_cell")
            cells = np.intersect1d(cells, serving[np.isfinite(serving)].astype(np.int64))
        meant = users if wish.event in {*_OF_PEOPLE, "SERVICE_EXPERIENCE", "DN_PERFORMANCE"} else cells
        meant = slices if wish.event in {"LOAD_LEVEL_INFORMATION", "NSI_LOAD_LEVEL"} else meant
        if not len(meant) or not len(slices) or not self._ours(narrowed):
            return None
        return Question(
            users=users,
            named=named,
            slices=slices,
            cells=cells,
            everywhere=narrowed.network_area is None,
            throughputs_bps=self._throughputs_bps(wish, picture, slices),
            perf_types=_set(narrowed.nw_perf_types),
            subsets=_set(narrowed.list_of_ana_subsets),
            load_percent=wish.load_percent,
        )

    def _users(self, wish: Wish, scene: Scene, slices: Rows, cells: Rows) -> Rows:
        """Rows of the users who are meant: by name, in the slices, in the area; sampled and cut as asked for."""
        picture, target, requirement = scene.picture, wish.target, wish.requirement
        there = np.flatnonzero(picture.users.active & np.isin(picture.user_slice, slices)).astype(np.int64)
        if target is not None and (target.supis or not target.any_ue) and _names_somebody(target):
            there = np.intersect1d(there, self._named(picture, target.supis or ()))
            there = there[: requirement.max_supi_nbr] if requirement.max_supi_nbr else there
        if wish.narrowed.network_area is not None:
            there = there[np.isin(current(scene, "user", there, "serving_cell"), cells)]
        if requirement.samp_ratio is not None and len(there):
            most = max(round(len(there) * requirement.samp_ratio / 100), 1)
            there = there[np.linspace(0, len(there) - 1, most).astype(np.int64)]
        return there

    def _named(self, picture: Picture, supis: Iterable[str]) -> Rows:
        found: list[int] = []
        for supi in supis:
            name = self.identities.user(supi)
            with contextlib.suppress(KeyError):
                found.append(picture.users.row(name) if name else -1)
        return np.asarray(found, np.int64)

    def _throughputs_bps(self, wish: Wish, picture: Picture, slices: Rows) -> tuple[float, ...]:
        """Thresholds of what a user gets: those named, else the guaranteed rate, else the most promised to a slice."""
        quality = wish.narrowed.qos_requ
        if wish.throughputs:
            return tuple(bps_of(text) for text in wish.throughputs)
        if quality is not None and quality.gfbr_dl is not None:
            return (bps_of(quality.gfbr_dl),)
        return (float(picture.target_bps[slices].max()),)

    def _ours(self, narrowed: EventFilter) -> bool:
        """Whether the data network and application that are asked about are those the twins know."""
        network = narrowed.dnns is None or self.settings.dnn in narrowed.dnns
        return network and (narrowed.app_ids is None or self.settings.app_id in narrowed.app_ids)


def _names_somebody(target: TargetUe | None) -> bool:
    return target is not None and bool(target.any_ue or target.supis or target.gpsis or target.int_group_ids)


def _instances(picture: Picture, slices: Rows, narrowed: EventFilter) -> Rows:
    """Of the slices those whose instance is named, where any is."""
    named = {name for info in narrowed.nsi_id_infos or () for name in info.nsi_ids or ()}
    if not named:
        return slices
    return np.asarray([row for row in slices if picture.slices.ids[int(row)] in named], np.int64)


def _set(names: Iterable[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
