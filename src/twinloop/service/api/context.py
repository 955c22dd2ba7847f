"""What routes share: the platform behind the application, and the twins as their caller may see them."""

from starlette.requests import HTTPConnection

from twinloop.service.api.problems import ProblemError
from twinloop.service.live import Picture
from twinloop.service.platform import Platform


def platform_of(connection: HTTPConnection) -> Platform:
    """The server's parts."""
    return connection.app.state.platform


def present(platform: Platform) -> Picture:
    """The twins after the last slot. Raises ProblemError (503) before the first."""
    picture = platform.picture
    if picture is None:
        raise ProblemError(503, "no slot has been lived yet", "ask again in a few seconds", {"Retry-After": "2"})
    return picture
