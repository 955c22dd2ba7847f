"""What routes share: the platform behind the application, and the twins as their caller may see them."""

from starlette.requests import HTTPConnection

from twinloop.service.api.problems import ProblemError
from twinloop.service.live import Picture
from twinloop.service.live_platform import Platform
from twinloop.service.security import Identity, View

MOST_NUMBER = 2**63 - 1
"""The largest number that a database counts to."""

_NOTHING = "no slot has been lived yet"
_LATER = ("ask again in a few seconds", {"Retry-After": "2"})


def platform_of(connection: HTTPConnection) -> Platform:
    """The server's parts."""
    return connection.app.state.platform


def seen(connection: HTTPConnection, identity: Identity) -> View:
    """The twins as the caller may see them: present, past and future. The one way from a route to any twin.

    Raises Forbidden for who sees none, ProblemError (503) before the first slot.
    """
    try:
        return platform_of(connection).sight.of(identity)
    except LookupError:
        raise ProblemError(503, _NOTHING, *_LATER) from None


def present(platform: Platform) -> Picture:
    """The twins after the last slot, uncut: for what is decided, never for what is shown to a tenant. Raises
    ProblemError (503) before the first.
    """
    picture = platform.picture
    if picture is None:
        raise ProblemError(503, _NOTHING, *_LATER)
    return picture
