"""The public API: one application over the platform, every route with its permission, every refusal a problem."""

from twinloop.service.api.application import PUBLIC, build_app
from twinloop.service.api.problems import ProblemError, not_found, respond

__all__ = ["PUBLIC", "ProblemError", "build_app", "not_found", "respond"]
