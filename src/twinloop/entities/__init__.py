"""What every package names: the attribute table, the services, and the action a network can be asked to take."""

from twinloop.entities.action import Action
from twinloop.entities.attributes import (
    CELL_ATTRIBUTES,
    SERVER_ATTRIBUTES,
    SLICE_ATTRIBUTES,
    USER_ATTRIBUTES,
    Attribute,
    column,
)
from twinloop.entities.directory import Directory
from twinloop.entities.services import SERVICES, Service

__all__ = [
    "CELL_ATTRIBUTES",
    "SERVER_ATTRIBUTES",
    "SERVICES",
    "SLICE_ATTRIBUTES",
    "USER_ATTRIBUTES",
    "Action",
    "Attribute",
    "Directory",
    "Service",
    "column",
]
