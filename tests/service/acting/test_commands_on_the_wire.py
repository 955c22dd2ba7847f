"""What a site is commanded can be sent: with flows inside slices, too, and comes out as it went in."""

import msgspec
from service.acting.conftest import make_action, make_picture

from twinloop.network import Command
from twinloop.service.acting import Orders


def test_a_command_with_flows_is_sent_as_it_is(three_sites):
    users = [{"slice": 0, "cell": 0, "rate_bps": 1e6, "sinr_db": 10.0}]
    commands = Orders(three_sites).write(make_action(flow_hz=1e5), 7, make_picture(users=users), 1.7e9, flows=True)
    for command in commands.values():
        assert msgspec.json.decode(msgspec.json.encode(command), type=Command) == command
    assert any(flow.user == "u0" for flow in commands["west"].flows or [])
    assert any(flow.group for flow in commands["west"].flows or [])
