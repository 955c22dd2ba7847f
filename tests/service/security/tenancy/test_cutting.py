from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twinloop.entities import USER_ATTRIBUTES
from twinloop.service.live import KindPicture, Picture
from twinloop.service.security import (
    DEFAULT_GRANT,
    PERMISSIONS,
    Forbidden,
    Grants,
    Identity,
    Pseudonyms,
    Tenancy,
)

NAMES = [attribute.name for attribute in USER_ATTRIBUTES]
ACME = Identity("tl_1", "acme", "tenant", PERMISSIONS["tenant"], tenant="acme")
USERS = [("ann", 0), ("bob", 1), ("cy", 0), ("", 0), ("dee", 2), ("eve", -1), ("flo", 1)]


@pytest.fixture
def tenancy(memory, clock):
    return Tenancy(Grants(memory, clock), Pseudonyms(memory))


def same(one: object, other: object) -> bool:
    """True for two pictures, or parts of them, that nobody can tell apart."""
    if isinstance(one, Picture | KindPicture):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one) if f.compare)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    return one == other


def test_who_sees_all_gets_the_picture_itself(tenancy, picture_of):
    picture = picture_of(USERS)
    for role in ("admin", "operator", "viewer"):
        assert tenancy.visible(picture, Identity("tl_1", "x", role, PERMISSIONS[role])) is picture


def test_reporters_see_none(tenancy, picture_of):
    with pytest.raises(Forbidden):
        tenancy.visible(picture_of(USERS), Identity("tl_1", "x", "reporter", PERMISSIONS["reporter"]))


def test_a_tenant_without_slices_sees_an_empty_network(tenancy, picture_of):
    seen = tenancy.visible(picture_of(USERS), ACME)
    assert seen.users.ids == () and seen.slices.ids == () and seen.slice_sst == ()
    assert seen.reserved_bandwidth_hz.shape == (2, 0)


def test_a_tenant_sees_its_users_and_of_them_what_is_granted(tenancy, picture_of):
    picture = picture_of(USERS)
    tenancy.grants.assign("red", "acme")
    seen = tenancy.visible(picture, ACME)
    assert len(seen.users.ids) == 2 and seen.user_slice.tolist() == [0, 0]
    for column, name in enumerate(NAMES):
        allowed = name in DEFAULT_GRANT
        for array in ("value", "fidelity", "emulated", "emulated_std"):
            shown, true = getattr(seen.users, array)[:, column], getattr(picture.users, array)[[0, 2], column]
            assert np.array_equal(shown, true) if allowed else np.isnan(shown).all()
        assert np.array_equal(seen.users.slot[:, column], picture.users.slot[[0, 2], column] if allowed else [-1, -1])


def test_names_are_pseudonyms_unless_granted(tenancy, picture_of):
    picture = picture_of(USERS)
    tenancy.grants.assign("red", "acme")
    tenancy.grants.assign("green", "acme", identity=True)
    seen = tenancy.visible(picture, ACME).users.ids
    assert seen[1] == "bob" and seen[3] == "flo"
    assert all(name.startswith("user-") for name in (seen[0], seen[2]))


def test_each_slice_has_its_own_grant(tenancy, picture_of):
    picture = picture_of(USERS)
    tenancy.grants.assign("red", "acme", attributes=["rate_bps"])
    tenancy.grants.assign("green", "acme", attributes=["opinion"])
    seen = tenancy.visible(picture, ACME)
    of = {name: seen.users.slot[:, NAMES.index(name)] >= 0 for name in NAMES}
    assert of.pop("rate_bps").tolist() == [True, False, True, False]
    assert of.pop("opinion").tolist() == [False, True, False, True]
    assert not np.any(list(of.values()))
    assert seen.user_slice.tolist() == [0, 1, 0, 1] and seen.slices.ids == ("red", "green")


def test_slices_and_reservations_are_the_tenants_own_and_whole(tenancy, picture_of):
    picture = picture_of(USERS)
    tenancy.grants.assign("blue", "acme")
    seen = tenancy.visible(picture, ACME)
    assert seen.slices.ids == ("blue",) and seen.slice_sst == (3,) and seen.slice_sd == ("00000c",)
    assert np.array_equal(seen.slices.value, picture.slices.value[[2]])
    assert np.array_equal(seen.reserved_bandwidth_hz, picture.reserved_bandwidth_hz[:, [2]])
    assert np.array_equal(seen.reserved_cycles_per_s, picture.reserved_cycles_per_s[:, [2]])
    assert np.array_equal(seen.floor_share, picture.floor_share[[2]])


def test_of_cells_and_servers_there_are_names_alone(tenancy, picture_of):
    tenancy.grants.assign("red", "acme", attributes=NAMES, identity=True)
    seen = tenancy.visible(picture_of(USERS), ACME)
    for twins in (seen.cells, seen.servers):
        assert all(twins.ids) and (twins.slot == -1).all() and not twins.revision.any()
        for array in (twins.value, twins.fidelity, twins.emulated, twins.emulated_std):
            assert np.isnan(array).all()
    for array in (seen.cell_position_m, seen.cell_bandwidth_hz, seen.server_cycles_per_s):
        assert np.isnan(array).all()
    assert (seen.cell_server == -1).all() and seen.area_m == (1000.0, 900.0)


def test_the_area_goes_with_positions(tenancy, picture_of):
    tenancy.grants.assign("red", "acme", attributes=["position_x_m"])
    assert tenancy.visible(picture_of(USERS), ACME).area_m == (0.0, 0.0)


def test_nothing_seen_can_be_changed(tenancy, picture_of):
    tenancy.grants.assign("red", "acme")
    seen = tenancy.visible(picture_of(USERS), ACME)
    for part in (seen, seen.users, seen.cells, seen.slices):
        for field in fields(part):
            array = getattr(part, field.name)
            if isinstance(array, np.ndarray) and not (part is seen.cells and field.name == "active"):
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 0


grant_sets = st.dictionaries(
    st.sampled_from(["red", "green", "blue"]),
    st.tuples(st.sampled_from(["acme", "other"]), st.sets(st.sampled_from(NAMES), max_size=6), st.booleans()),
)
places = st.lists(st.integers(-1, 2), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(granted=grant_sets, slices=places, seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)), data=st.data())
def test_what_is_hidden_makes_no_difference(memory, clock, picture_of, granted, slices, seeds, data):
    """Noninterference: whatever happens to what is not the tenant's, its picture stays the same to the last bit."""
    memory.documents.pop("grants", None)
    tenancy = Tenancy(Grants(memory, clock), Pseudonyms(memory))
    for name, (tenant, attributes, identity) in granted.items():
        tenancy.grants.assign(name, tenant, attributes=attributes, identity=identity)
    own = [row for row, name in enumerate(("red", "green", "blue")) if granted.get(name, ("",))[0] == "acme"]
    users = [(f"u{n}", of) for n, of in enumerate(slices)]
    picture, noise = picture_of(users, seed=seeds[0]), picture_of(users, seed=seeds[1] + 1000)
    elsewhere = [row for row in (-1, 0, 1, 2) if row not in own]
    moved = np.asarray([of if of in own else data.draw(st.sampled_from(elsewhere)) for of in slices], np.int32)
    changed = replace(
        noise,
        users=mixed(picture, noise, own, granted),
        slices=mixed_rows(picture.slices, noise.slices, own),
        user_slice=moved,
        slice_active=keep(picture.slice_active, noise.slice_active, own),
        target_bps=keep(picture.target_bps, noise.target_bps, own),
        floor_share=keep(picture.floor_share, noise.floor_share, own),
        reserved_bandwidth_hz=keep(picture.reserved_bandwidth_hz.T, noise.reserved_bandwidth_hz.T, own).T,
        reserved_cycles_per_s=keep(picture.reserved_cycles_per_s.T, noise.reserved_cycles_per_s.T, own).T,
    )
    seen = tenancy.visible(picture, ACME)
    assert same(seen, tenancy.visible(changed, ACME))
    assert len(seen.users.ids) == sum(of in own for of in slices)


def keep(true: np.ndarray, noise: np.ndarray, rows: list[int]) -> np.ndarray:
    """`noise`, but for the rows that are seen."""
    mixed = noise.copy()
    mixed[rows] = true[rows]
    return mixed


def mixed_rows(true: KindPicture, noise: KindPicture, rows: list[int]) -> KindPicture:
    arrays = ("active", "value", "slot", "revision", "fidelity", "emulated", "emulated_std")
    return replace(true, **{name: keep(getattr(true, name), getattr(noise, name), rows) for name in arrays})


def mixed(true: Picture, noise: Picture, own: list[int], granted: dict[str, object]) -> KindPicture:
    """Users with noise where nothing is granted: other users, and attributes that are not granted of one's own."""
    users, slices = true.users, ("red", "green", "blue")
    arrays = {}
    for name in ("value", "slot", "fidelity", "emulated", "emulated_std"):
        array = getattr(noise.users, name).copy()
        for row, of in enumerate(true.user_slice):
            if of in own:
                columns = [NAMES.index(attribute) for attribute in granted[slices[of]][1]]
                array[row, columns] = getattr(users, name)[row, columns]
        arrays[name] = array
    rows = [row for row, of in enumerate(true.user_slice) if of in own]
    ids = tuple(name if row in rows else f"other-{row}" for row, name in enumerate(users.ids))
    return replace(users, ids=ids, revision=keep(users.revision, noise.users.revision, rows), **arrays)


def test_the_same_slot_is_cut_once_and_a_changed_grant_cuts_anew(tenancy, picture_of):
    picture = picture_of(USERS)
    tenancy.grants.assign("red", "acme")
    seen = tenancy.visible(picture, ACME)
    assert tenancy.visible(picture, ACME) is seen
    tenancy.grants.allow("red", attributes=[])
    assert (tenancy.visible(picture, ACME).users.slot == -1).all()
    tenancy.grants.release("red")
    assert tenancy.visible(picture, ACME).users.ids == ()


def test_a_slice_of_the_same_name_before_it_was_assigned_is_not_seen(tenancy, picture_of, clock):
    clock.pass_s(100)
    tenancy.grants.assign("red", "acme")
    assert tenancy.visible(picture_of(USERS, slot=98), ACME).slices.ids == ()
    assert tenancy.visible(picture_of(USERS, slot=100), ACME).slices.ids == ("red",)


def test_users_who_left_are_not_seen(tenancy, picture_of):
    picture = picture_of(USERS)
    picture.users.active[2] = False
    tenancy.grants.assign("red", "acme", identity=True)
    assert tenancy.visible(picture, ACME).users.ids == ("ann",)
