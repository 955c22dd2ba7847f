"""Analytics of the twins for other network functions: Nnwdaf_AnalyticsInfo and _EventsSubscription (TS 29.520)."""

from twinloop.service.analytics.events import View
from twinloop.service.analytics.identities import Identities
from twinloop.service.analytics.models import PlmnId, Snssai
from twinloop.service.analytics.models.form import Form, Some, written
from twinloop.service.analytics.notify import Notifier, NotifyCounts, notify_forever
from twinloop.service.analytics.nwdaf import Analytics, Identity, Wish
from twinloop.service.analytics.problems import ProblemRoute, RefusalError, documented
from twinloop.service.analytics.routes import nnwdaf_router
from twinloop.service.analytics.settings import AnalyticsSettings, NotifySettings, Precision
from twinloop.service.analytics.subscriptions import Subscriptions

__all__ = [
    "Analytics",
    "AnalyticsSettings",
    "Form",
    "Identities",
    "Identity",
    "Notifier",
    "NotifyCounts",
    "NotifySettings",
    "PlmnId",
    "Precision",
    "ProblemRoute",
    "RefusalError",
    "Snssai",
    "Some",
    "Subscriptions",
    "View",
    "Wish",
    "documented",
    "nnwdaf_router",
    "notify_forever",
    "written",
]
