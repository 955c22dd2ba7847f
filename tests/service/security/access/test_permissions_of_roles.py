import pytest

from twinloop.service.security import PERMISSIONS, ROLES, SEES_ALL, Forbidden, Identity, Permission


def identity(role, **more):
    return Identity("tl_1", "one", role, PERMISSIONS[role], tenant="acme" if role == "tenant" else "", **more)


def test_every_role_has_its_line_in_the_table():
    assert set(PERMISSIONS) == set(ROLES)
    assert all(isinstance(p, Permission) for granted in PERMISSIONS.values() for p in granted)


def test_roles_hold_what_is_written_down():
    acting = {Permission.DECIDE, Permission.MODE, Permission.KILL, Permission.COLLECTION, Permission.WHATIF}
    guarding = {Permission.MANAGE_TOKENS, Permission.GRANTS, Permission.AUDIT, Permission.BACKUP}
    for role in ROLES:
        assert (acting <= PERMISSIONS[role]) == (role in {"admin", "operator"})
        assert (guarding & PERMISSIONS[role] != set()) == (role == "admin")
    assert PERMISSIONS["admin"] == frozenset(Permission)
    assert PERMISSIONS["viewer"] < PERMISSIONS["operator"]


def test_tenants_and_reporters_are_kept_from_what_is_of_all_slices():
    whole = {Permission.READ_NETWORK, Permission.READ_DECISIONS, Permission.METRICS, Permission.WHATIF}
    for role in ("tenant", "reporter"):
        assert not whole & PERMISSIONS[role]
        assert role not in SEES_ALL
    assert not PERMISSIONS["reporter"] & {Permission.READ_TWINS, Permission.ANALYTICS, Permission.READ_SLICES}
    assert not PERMISSIONS["tenant"] & {Permission.REPORT, Permission.COMMANDS, Permission.READ_INGEST}


def test_what_is_not_granted_is_forbidden_and_the_scope_named():
    for role in ROLES:
        for permission in Permission:
            if identity(role).allows(permission):
                identity(role).require(permission)
                continue
            with pytest.raises(Forbidden) as refused:
                identity(role).require(permission)
            assert refused.value.status == 403
            assert f'scope="{permission.value}"' in refused.value.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("north", True),
        ("north:2", True),
        ("northern", False),
        ("north-2", False),
        ("south", False),
        (":north", False),
        ("", False),
        ("North", False),
        ("south:north", False),
    ],
)
def test_a_bound_reporter_is_nobody_else(source, allowed):
    bound = identity("reporter", sources=frozenset({"north"}))
    assert bound.may_send_as(source) is allowed
    if not allowed:
        with pytest.raises(Forbidden, match="north"):
            bound.require_source(source)
    identity("reporter").require_source(source)


def test_a_tenant_acts_for_itself_alone():
    with pytest.raises(Forbidden):
        identity("tenant").require_tenant("other")
    identity("tenant").require_tenant("acme")
    identity("operator").require_tenant("acme")


def test_a_tenant_without_a_name_cannot_exist():
    with pytest.raises(ValueError, match="tenant"):
        Identity("tl_1", "one", "tenant", PERMISSIONS["tenant"])
    with pytest.raises(ValueError, match="viewer"):
        Identity("tl_1", "one", "viewer", PERMISSIONS["viewer"], tenant="acme")
