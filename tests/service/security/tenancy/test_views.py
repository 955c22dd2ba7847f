import numpy as np
import pytest

from twinloop.service.live import Foretold, Series
from twinloop.service.security import (
    PERMISSIONS,
    Forbidden,
    Grants,
    Identity,
    Pseudonyms,
    Sight,
    Tenancy,
)

ACME = Identity("tl_1", "acme", "tenant", PERMISSIONS["tenant"], tenant="acme")
VIEWER = Identity("tl_2", "screen", "viewer", PERMISSIONS["viewer"])
USERS = [("ann", 0), ("bob", 1), ("cy", 0), ("", 0), ("dee", 2)]
START_S = 1_700_000_000.0


class Archive:
    """A past and a future in which every value says whose it is."""

    def __init__(self):
        self.asked = []

    def series(self, kind, name, attribute, from_s, to_s, step_s):
        self.asked.append((kind, name, attribute))
        times = np.arange(from_s, to_s, step_s)
        return Series(times, np.ones(len(times), np.float32))

    def foretell(self, kind, attribute, horizon_s):
        self.asked.append((kind, None, attribute))
        count = {"user": 5, "slice": 3, "cell": 2, "server": 1}[kind]
        mean = np.tile(np.arange(count, dtype=np.float32), (2, 1))
        return Foretold(np.arange(2.0), mean, mean + 10)


@pytest.fixture
def archive():
    return Archive()


@pytest.fixture
def tenancy(memory, clock):
    return Tenancy(Grants(memory, clock), Pseudonyms(memory))


@pytest.fixture
def sight(tenancy, archive):
    return Sight(tenancy, archive, archive)


def test_before_the_first_slot_there_is_nothing_to_see(sight):
    with pytest.raises(LookupError):
        sight.of(ACME)


def test_who_sees_all_is_not_hindered(sight, picture_of):
    picture = picture_of(USERS)
    sight.publish(picture)
    view = sight.of(VIEWER)
    assert view.is_whole and view.picture is picture
    assert np.isfinite(view.series("cell", "north", "load", START_S, START_S + 5, 1.0).value).all()
    assert view.foretell("users", "position_x_m", 2.0).mean.shape == (2, 5)
    assert view.attributes("cell") == tuple(a.name for a in picture.cells.attributes)
    assert view.shown("user", 4) == 4


def test_a_pseudonym_leads_to_its_user_and_a_name_to_nobody(sight, tenancy, archive, picture_of):
    tenancy.grants.assign("red", "acme")
    sight.publish(picture_of(USERS))
    view = sight.of(ACME)
    first, second = view.picture.users.ids
    assert view.row("user", second) == 1
    view.series("user", second, "rate_bps", START_S, START_S + 20, 1.0)
    assert archive.asked == [("user", "cy", "rate_bps")]
    other = tenancy.visible(picture_of(USERS), Identity("tl_3", "o", "tenant", PERMISSIONS["tenant"], tenant="other"))
    for name in ("ann", "cy", "bob", "dee", "", "nobody", first.upper(), *other.users.ids):
        with pytest.raises(KeyError):
            view.row("user", name)
        with pytest.raises(KeyError):
            view.series("user", name, "rate_bps", START_S, START_S + 20, 1.0)
    assert len(archive.asked) == 1


@pytest.mark.parametrize(
    ("kind", "name", "attribute"),
    [
        ("user", 0, "position_x_m"),
        ("user", 0, "serving_cell"),
        ("user", 0, "video_class"),
        ("cell", "north", "load"),
        ("cell", "north", "users"),
        ("server", "edge", "utilisation"),
    ],
)
def test_what_is_not_granted_has_neither_past_nor_future(sight, tenancy, archive, picture_of, kind, name, attribute):
    tenancy.grants.assign("red", "acme")
    sight.publish(picture_of(USERS))
    view = sight.of(ACME)
    shown = view.picture.users.ids[name] if isinstance(name, int) else name
    with pytest.raises(Forbidden, match=attribute):
        view.series(kind, shown, attribute, START_S, START_S + 20, 1.0)
    with pytest.raises(Forbidden, match=attribute):
        view.foretell(kind, attribute, 2.0)
    assert not archive.asked
    assert attribute not in view.attributes(kind) and attribute not in view.attributes(kind, shown)


def test_what_does_not_exist_and_what_is_hidden_are_told_alike(sight, tenancy, picture_of):
    tenancy.grants.assign("red", "acme")
    sight.publish(picture_of(USERS))
    view = sight.of(ACME)
    words = set()
    for name in ("green", "blue", "violet"):
        with pytest.raises(KeyError) as refused:
            view.series("slice", name, "rate_bps", START_S, START_S + 5, 1.0)
        words.add(str(refused.value).replace(name, "?"))
    assert len(words) == 1
    for kind, attribute in (("user", "salary"), ("galaxy", "rate_bps")):
        with pytest.raises(KeyError):
            view.foretell(kind, attribute, 2.0)


def test_the_future_holds_ones_own_rows_and_nothing_where_it_is_not_granted(sight, tenancy, picture_of):
    tenancy.grants.assign("red", "acme", attributes=["rate_bps"])
    tenancy.grants.assign("blue", "acme", attributes=["delay_s"])
    sight.publish(picture_of(USERS))
    view = sight.of(ACME)
    users = view.foretell("user", "rate_bps", 2.0)
    assert users.mean[:, :2].tolist() == [[0, 2], [0, 2]] and np.isnan(users.mean[:, 2]).all()
    assert users.std[:, :2].tolist() == [[10, 12], [10, 12]] and np.isnan(users.std[:, 2]).all()
    assert view.foretell("slice", "rate_bps", 2.0).mean.tolist() == [[0, 2], [0, 2]]


def test_the_past_begins_when_the_user_came_into_the_slice(sight, tenancy, picture_of, later):
    tenancy.grants.assign("red", "acme", identity=True)
    at_first, then = [("ann", 0), ("bob", 1)], [("ann", 0), ("bob", 0)]
    sight.publish(picture_of(at_first, slot=10))
    sight.publish(picture_of(then, slot=15))
    sight.publish(picture_of(then, slot=20))
    view = sight.of(ACME)
    since = {name: view.series("user", name, "rate_bps", START_S, START_S + 25, 1.0) for name in ("ann", "bob")}
    first = {name: float(found.time_s[np.isfinite(found.value)].min()) - START_S for name, found in since.items()}
    assert first == {"ann": 10, "bob": 15}


def test_leaving_and_coming_back_begins_anew(sight, tenancy, picture_of):
    tenancy.grants.assign("red", "acme", identity=True)
    steps = [(10, [("ann", 0)]), (12, [("ann", 1)]), (14, [("ann", 0)])]
    for slot, users in steps:
        sight.publish(picture_of(users, slot=slot))
    found = sight.of(ACME).series("user", "ann", "rate_bps", START_S, START_S + 20, 1.0)
    assert np.isfinite(found.value).tolist() == [False] * 14 + [True] * 6


def test_being_away_begins_anew(sight, tenancy, picture_of):
    tenancy.grants.assign("red", "acme", identity=True)
    for slot, there in [(10, True), (12, False), (14, True)]:
        picture = picture_of([("ann", 0)], slot=slot)
        picture.users.active[0] = there
        sight.publish(picture)
    found = sight.of(ACME).series("user", "ann", "rate_bps", START_S, START_S + 20, 1.0)
    assert np.isfinite(found.value).tolist() == [False] * 14 + [True] * 6


def test_a_row_that_somebody_else_takes_begins_anew(sight, tenancy, picture_of):
    tenancy.grants.assign("red", "acme", identity=True)
    sight.publish(picture_of([("ann", 0), ("cy", 0)], slot=10))
    sight.publish(picture_of([("bob", 0), ("cy", 0)], slot=12))
    view = sight.of(ACME)
    first = view.series("user", "bob", "rate_bps", START_S, START_S + 14, 1.0)
    assert np.isfinite(first.value).tolist() == [False] * 12 + [True] * 2
    assert np.isfinite(view.series("user", "cy", "rate_bps", START_S, START_S + 14, 1.0).value).sum() == 4


def test_a_slices_past_begins_with_its_tenant(sight, tenancy, picture_of, clock):
    sight.publish(picture_of(USERS, slot=10))
    clock.pass_s(12.5)
    tenancy.grants.assign("red", "acme")
    sight.publish(picture_of(USERS, slot=13))
    found = sight.of(ACME).series("slice", "red", "rate_bps", START_S, START_S + 15, 1.0)
    assert np.isfinite(found.value).tolist() == [False] * 13 + [True] * 2


def test_events_name_rows_that_are_seen_and_no_others(sight, tenancy, picture_of):
    tenancy.grants.assign("red", "acme")
    sight.publish(picture_of(USERS))
    view = sight.of(ACME)
    assert [view.shown("user", row) for row in range(5)] == [0, None, 1, None, None]
    assert [view.shown("slice", row) for row in range(3)] == [0, None, None]
    assert view.shown("cell", 0) is None and view.shown("server", 0) is None


def test_an_earlier_picture_is_cut_by_what_was_true_then(sight, tenancy, picture_of):
    tenancy.grants.assign("red", "acme", identity=True)
    early = picture_of([("ann", 0), ("bob", 1), ("dee", 0)], slot=10)
    sight.publish(early)
    sight.publish(picture_of([("ann", 1), ("bob", 0), ("dee", 0)], slot=12))
    then = sight.at(early, ACME)
    assert then.picture.users.ids == ("ann", "dee")
    gone = then.series("user", "ann", "rate_bps", START_S, START_S + 15, 1.0)
    assert np.isnan(gone.value).all()
    assert np.isfinite(then.series("user", "dee", "rate_bps", START_S, START_S + 15, 1.0).value).sum() == 5


def test_a_view_that_is_held_keeps_to_its_slot(sight, tenancy, picture_of):
    tenancy.grants.assign("red", "acme")
    sight.publish(picture_of(USERS, slot=10))
    held = sight.of(ACME)
    sight.publish(picture_of(USERS, slot=11))
    assert (held.picture.slot, sight.of(ACME).picture.slot) == (10, 11)
