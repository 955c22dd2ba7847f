"""What an NDTJob asks, answered by the what-ifs of this server (3GPP TS 28.561)."""

from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from twinloop.service.api.problems import ProblemError
from twinloop.service.api.twins import LONGEST_PATIENCE_S, Proposal, tried
from twinloop.service.live_platform import Platform


class Questions:
    """Answers jobs; see `standards.WhatIfPort`. What takes longer than the job may is the job's to end."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def run(self, proposal: dict[str, Any], horizon_s: float) -> dict[str, Any]:
        """What people would live through under a proposal; see `Proposal` for what may be in it.

        Raises ProblemError for one that cannot be.
        """
        asked = {"timeout_s": LONGEST_PATIENCE_S} | proposal | {"horizon_s": horizon_s}
        try:
            wish = Proposal.model_validate(asked)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            raise ProblemError(422, f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
        found = asdict(await tried(self._platform, wish))
        shares = found.pop("shares_proposed")
        return {
            **found,
            "networkState": {"shares": found.pop("shares_standing"), "slot": found["slot"]},
            "networkConfiguration": {"shares": shares},
        }
