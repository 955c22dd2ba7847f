"""The live network over HTTP: as reported, beside its twins and apart from them."""


def test_the_network_is_shown_as_it_reported_itself(shown):
    whole = shown.known("/network", "viewer")
    assert [cell["name"] for cell in whole["cells"]] == ["north", "south"]
    assert whole["users"] == 4 and (whole["requested_revision"], whole["confirmed_revision"]) == (4, 3)
    north = shown.known("/network/cells/north")
    assert north == whole["cells"][0]
    assert north["users"] == 2 and north["server"] == "edge" and north["reserved_hz"]["premium"] == 2e6
    load = north["reported"]["load"]
    assert load["age_s"] == 0.0 and "fidelity" not in load and "emulated" not in north
    assert shown.known("/network/servers")[0]["cells"] == ["north", "south"]
    assert [one["users"] for one in shown.known("/network/slices")] == [2, 1, 1]
    assert shown.known("/network/sites")[0]["follows"] is False


def test_what_a_network_has_not(shown):
    assert "cells, servers, slices, sites" in shown.refused("/network/clouds/north", 404)["hint"]
    assert "/network/cells" in shown.refused("/network/cells/west", 404)["hint"]
