"""A real broker, and servers that are connected to it."""

from served_here import broker, open_server, server

__all__ = ["broker", "open_server", "server"]
