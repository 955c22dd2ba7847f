import pytest

from twinloop.entities import USER_ATTRIBUTES
from twinloop.service.security import DEFAULT_GRANT, Grants, InvalidInput, Pseudonyms


@pytest.fixture
def grants(memory, clock):
    return Grants(memory, clock)


def test_the_default_holds_neither_place_nor_taste_nor_name(grants):
    grant = grants.assign("red", "acme")
    assert grant.attributes == DEFAULT_GRANT and not grant.identity
    private = {"position_x_m", "position_y_m", "speed_mps", "serving_cell", "rsrp_dbm", "sinr_db", "video_class"}
    assert not DEFAULT_GRANT & (private | {"last_class", "opinion", "watch_s", "swipes"})
    assert {attribute.name for attribute in USER_ATTRIBUTES} >= DEFAULT_GRANT


def test_a_slice_has_one_tenant_until_it_is_released(grants, clock):
    grants.assign("red", "acme")
    for tenant in ("other", "acme"):
        with pytest.raises(InvalidInput, match="acme"):
            grants.assign("red", tenant)
    grants.release("red")
    clock.pass_s(5)
    assert grants.assign("red", "other").since_s == clock()
    assert grants.of("acme") == ()


def test_a_restart_keeps_grants(grants, memory, clock):
    grants.assign("red", "acme", attributes=["rate_bps"], identity=True)
    grants.assign("blue", "acme")
    grants.release("blue")
    assert Grants(memory, clock).all() == grants.all()


def test_grants_are_widened_and_narrowed(grants, clock):
    since_s = grants.assign("red", "acme").since_s
    clock.pass_s(9)
    before = grants.revision
    assert grants.allow("red", attributes=["position_x_m"]).attributes == {"position_x_m"}
    assert grants.allow("red", identity=True).attributes == {"position_x_m"}
    assert grants.get("red").identity and grants.get("red").since_s == since_s
    assert grants.revision == before + 2
    with pytest.raises(KeyError):
        grants.allow("green", identity=True)


def test_unknown_attributes_and_empty_names_are_told(grants):
    with pytest.raises(InvalidInput, match="salary"):
        grants.assign("red", "acme", attributes=["rate_bps", "salary"])
    for name, tenant in (("", "acme"), ("red", "")):
        with pytest.raises(InvalidInput):
            grants.assign(name, tenant)
    assert grants.all() == ()


def test_what_could_not_be_kept_is_not_granted(grants, memory):
    memory.full = True
    with pytest.raises(OSError, match="space"):
        grants.assign("red", "acme")
    assert grants.get("red") is None


def test_nobody_owns_nothing(grants):
    grants.assign("red", "acme")
    assert grants.of("") == () and grants.of("ACME") == ()


def test_pseudonyms_last_and_differ_by_tenant(memory):
    users = [f"subscriber-{n}" for n in range(200)]
    acme, other = Pseudonyms(memory).of("acme", users), Pseudonyms(memory).of("other", users)
    assert Pseudonyms(memory).of("acme", users) == acme
    assert len({*acme, *other}) == 400
    assert not any(user in name for user in users for name in acme)
    assert all(len(name) == 31 and name.startswith("user-") for name in acme)


def test_another_key_makes_other_pseudonyms(memory):
    first = Pseudonyms(memory).of("acme", ["u1"])
    memory.delete("keys", "pseudonyms")
    assert Pseudonyms(memory).of("acme", ["u1"]) != first


def test_tenants_and_users_cannot_be_run_together(memory):
    pseudonyms = Pseudonyms(memory)
    assert pseudonyms.of("ab", ["c"]) != pseudonyms.of("a", ["bc"])
    assert pseudonyms.of("a", ["\udcff", "ü"])[0] != pseudonyms.of("a", ["ü"])[0]
