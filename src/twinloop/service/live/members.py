"""Who is in the live network: rows of users, cells and servers by name, and every user's slice and multicast group."""

import threading
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from twinloop.entities import Directory
from twinloop.network.formats import Rows
from twinloop.scenario import Scenario


class SavedMembers(msgspec.Struct):
    """Who stood where: by row the name ("": nobody), generation, slice and group; rows taken by `newcomers`."""

    names: list[str]
    generation: list[int]
    slices: list[int]
    groups: list[int]
    newcomers: list[int]


class Members:
    """Cells, servers, slices and groups are those of the scenario; users come, are given a row, and go.

    `user_slice` and `user_group` (-1: unicast) are by row. Safe to use from several threads.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.users = Directory(scenario.user_count)
        self.cells = Directory(len(scenario.network.cells), [cell.name for cell in scenario.network.cells])
        self.servers = Directory(len(scenario.network.servers), [part.name for part in scenario.network.servers])
        self.slice_names = tuple(entry.name for entry in scenario.slices)
        self.group_names = group_names(scenario)
        self.user_slice = np.zeros(scenario.user_count, np.int32)
        self.user_group = np.full(scenario.user_count, -1, np.int32)
        self.revision = 0
        self.lock = threading.Lock()
        self._slice = _by_any_name(scenario)
        self._group = {name: number for number, name in enumerate(self.group_names)}
        self._newcomers: set[int] = set()
        self._expected: tuple[set[int], set[int]] = (set(), set())

    def directory(self, kind: str) -> Directory:
        """The rows of users, cells or servers."""
        return {"users": self.users, "cells": self.cells, "servers": self.servers}[kind]

    def why_not(self, kind: str, name: str, in_slice: str | None, group: str | None) -> str:
        """Why a report of `name` has no place here, "" where it has one; a user gets a row on the way.

        Where there are several slices a new user has to come with its own: nobody is put into the sight of a tenant by
        a guess.
        """
        if kind != "users":
            there = self.directory(kind)
            if there.row(name) is not None:
                return ""
            return f"{kind[:-1]} {name!r} is not in the scenario; there are {', '.join(filter(None, there.names))}"
        if in_slice is not None and in_slice not in self._slice:
            return f"slice {in_slice!r} is not in the scenario; there are {', '.join(self.slice_names)}"
        if group is not None and group not in self._group:
            return f"group {group!r} is not in the scenario; there are {', '.join(self.group_names) or 'none'}"
        with self.lock:
            row = self.users.row(name)
            if row is None and in_slice is None and len(self.slice_names) > 1:
                return f"user {name!r} is new and of no slice yet; name one of {', '.join(self.slice_names)}"
            if row is None:
                row = self._admit(name)
            if row is None:
                return f"no row is free for user {name!r}: the scenario has room for {len(self.users.names)} users"
            self._assign(row, in_slice, group)
        return ""

    def join(self, rows: Iterable[Rows]) -> None:
        """Gives a row to every user of reports that were accepted once."""
        for part in rows:
            for name, in_slice, group in zip(part.ids, part.slices, part.groups, strict=True):
                self.why_not(part.kind, name, in_slice, group)

    def newcomers(self) -> NDArray[np.bool_]:
        """Rows that somebody took since this was last asked."""
        with self.lock:
            rows, self._newcomers = self._newcomers, set()
        who = np.zeros(len(self.users.names), bool)
        who[list(rows)] = True
        return who

    def release(self, rows: Sequence[int]) -> list[int]:
        """Lets users go, and gives the rows that are free now: whose report was accepted since the last call but one
        stays, because it may be on its way.
        """
        with self.lock:
            recent, before = self._expected
            self._expected = (set(), recent)
            gone = [row for row in rows if row not in recent and row not in before]
            for row in gone:
                self.users.release(row)
                self._newcomers.discard(row)
                self.user_group[row] = -1
            self.revision += bool(gone)
        return gone

    def saved(self) -> "SavedMembers":
        """What a snapshot keeps."""
        with self.lock:
            return SavedMembers(
                list(self.users.names),
                self.users.generation.tolist(),
                self.user_slice.tolist(),
                self.user_group.tolist(),
                sorted(self._newcomers),
            )

    def restore(self, saved: "SavedMembers") -> None:
        """Goes back to what was saved. Raises ValueError where it does not fit the scenario."""
        with self.lock:
            self.users.restore(saved.names, saved.generation)
            self.user_slice = np.asarray(saved.slices, np.int32)
            self.user_group = np.asarray(saved.groups, np.int32)
            self._newcomers = set(saved.newcomers)
            self.revision += 1

    def _admit(self, name: str) -> int | None:
        row = self.users.claim(name)
        if row is not None:
            self._newcomers.add(row)
            self.user_slice[row], self.user_group[row] = 0, -1
            self.revision += 1
        return row

    def _assign(self, row: int, in_slice: str | None, group: str | None) -> None:
        self._expected[0].add(row)
        wanted = self.user_slice[row] if in_slice is None else self._slice[in_slice]
        joined = self.user_group[row] if group is None else self._group[group]
        if wanted != self.user_slice[row] or joined != self.user_group[row]:
            self.user_slice[row], self.user_group[row] = wanted, joined
            self.revision += 1


def group_names(scenario: Scenario) -> tuple[str, ...]:
    """Names of multicast groups in the order of their numbers: slice, site where there is one, and a count."""
    names: list[str] = []
    for population in scenario.users:
        place = population.slice if population.site is None else f"{population.slice}-{population.site}"
        taken = sum(name.rpartition("-")[0] == place for name in names)
        names += [f"{place}-{taken + number}" for number in range(population.groups)]
    return tuple(names)


def _by_any_name(scenario: Scenario) -> dict[str, int]:
    """Rows of slices by name, and by S-NSSAI as `sst-sd` where that is nobody else's."""
    rows = {entry.name: row for row, entry in enumerate(scenario.slices)}
    codes = [f"{entry.sst}-{entry.sd.lower()}" for entry in scenario.slices]
    return {code: row for row, code in enumerate(codes) if codes.count(code) == 1} | rows
