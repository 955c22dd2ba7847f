"""The standards' interfaces over this server's twins: network data analytics, and management of the twin itself."""

from twinloop.service.api.standards.wiring import add_standards

__all__ = ["add_standards"]
