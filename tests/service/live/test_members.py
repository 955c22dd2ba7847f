"""Who is there: users come into rows and leave them; what the scenario does not have is answered."""

import pytest

from twinloop import scenario
from twinloop.service.live import Members, group_names


@pytest.fixture
def members() -> Members:
    return Members(scenario.load("three-sites"))


def test_groups_are_called_by_slice_and_site(members):
    assert members.group_names == ("multicast-west-0", "multicast-centre-0", "multicast-east-0")
    west = scenario.site_of(scenario.load("three-sites"), "west")
    assert group_names(west) == ("multicast-west-0",)
    assert group_names(scenario.load("campus")) == ("multicast-0", "multicast-1", "multicast-2")


@pytest.mark.parametrize(
    ("kind", "name", "in_slice", "group", "told"),
    [
        ("cells", "north", None, None, "cell 'north' is not in the scenario; there are west-macro"),
        ("servers", "cloud", None, None, "server 'cloud' is not in the scenario"),
        ("users", "u", "gold", None, "slice 'gold' is not in the scenario; there are premium, standard, multicast"),
        ("users", "u", None, "g", "group 'g' is not in the scenario; there are multicast-west-0"),
        ("cells", "west-macro", None, None, ""),
        ("users", "u", None, None, "user 'u' is new and of no slice yet; name one of premium, standard, multicast"),
        ("users", "u", "1-000002", "multicast-east-0", ""),
    ],
)
def test_why_a_report_has_no_place(members, kind, name, in_slice, group, told):
    why = members.why_not(kind, name, in_slice, group)
    assert why.startswith(told)
    assert bool(why) == bool(told)


def test_a_user_has_a_row_of_its_own_until_it_is_let_go(members):
    assert members.why_not("users", "a", "standard", None) == ""
    row = members.users.row("a")
    assert members.user_slice[row] == 1
    assert members.newcomers().nonzero()[0].tolist() == [row]
    assert not members.newcomers().any()
    revision = members.revision
    assert members.why_not("users", "a", None, None) == ""
    assert (members.user_slice[row], members.revision) == (1, revision)
    members.why_not("users", "a", "premium", "multicast-west-0")
    assert (members.user_slice[row], members.user_group[row]) == (0, 0)
    assert members.release([row]) == [] and members.release([]) == [], "its report may be on its way"
    assert members.release([row]) == [row]
    assert members.users.row("a") is None
    assert members.user_group[row] == -1


def test_a_full_scenario_says_so(members):
    for number in range(84):
        assert members.why_not("users", f"u{number}", "premium", None) == ""
    assert members.why_not("users", "late", "premium", None) == (
        "no row is free for user 'late': the scenario has room for 84 users"
    )


def test_a_new_user_of_no_slice_is_nobody_s(members):
    assert members.why_not("users", "a", None, None)
    assert members.users.row("a") is None and not members.newcomers().any()
    described = scenario.load("three-sites")
    one = described.model_copy(update={"slices": described.slices[:1], "users": described.users[:1]})
    assert Members(one).why_not("users", "a", None, None) == "", "there is no other slice that it could be of"


def test_saved_members_come_back(members):
    members.why_not("users", "a", "standard", "multicast-east-0")
    copy = Members(scenario.load("three-sites"))
    copy.restore(members.saved())
    assert copy.saved() == members.saved()
    assert copy.newcomers().tolist() == members.newcomers().tolist()
