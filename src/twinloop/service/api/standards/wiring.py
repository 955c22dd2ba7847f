"""Puts the standards' interfaces into the application: whom they ask who it is, and through which eyes they see."""

import json
from typing import Any

from fastapi import FastAPI

from twinloop.service.analytics import (
    Analytics,
    AnalyticsSettings,
    Identities,
    Notifier,
    Subscriptions,
    nnwdaf_router,
    notify_forever,
)
from twinloop.service.api.standards.questions import Questions
from twinloop.service.live_platform import Platform
from twinloop.service.security import Guard, Identity, Permission, Requires, WebhookTargets
from twinloop.service.standards import NdtJobs, NdtSettings, management_router

TIES = ("NETWORK_CONFIGURATIONS_VERIFICATION", "AUTOMATION_CONFIGURATION_VERIFICATION")
"""Capabilities of TS 28.561 that what-ifs answer."""


def add_standards(app: FastAPI, platform: Platform, guard: Guard) -> None:
    """Mounts Nnwdaf_AnalyticsInfo and _EventsSubscription (TS 29.520) and the management of the twin (TS 28.561)."""
    settings = AnalyticsSettings()
    targets = WebhookTargets(platform.settings.webhooks)
    analytics: Analytics[Identity] = Analytics(platform.sight.of, settings, platform.clock)
    subscriptions = Subscriptions(analytics, platform.records)

    async def post(url: str, content: list[dict[str, Any]]) -> int:
        return (await targets.send(url, json.dumps(content).encode())).status

    def owner(subject: str) -> Identity | None:
        found = guard.identity_of(subject)
        return found if found is not None and found.allows(Permission.ANALYTICS) else None

    notifier = Notifier(analytics, subscriptions, owner, post)
    platform.tasks.append(lambda: notify_forever(notifier, settings.notify.check_s))
    app.include_router(nnwdaf_router(analytics, subscriptions, Requires(Permission.ANALYTICS), targets.check))
    questions = Questions(platform)
    jobs = NdtJobs(
        dict.fromkeys(TIES, questions), lambda: platform.picture, Identities(settings), NdtSettings(), platform.clock
    )
    app.include_router(management_router(jobs, lambda: platform.decisions.mode, Requires(Permission.WHATIF)))
