"""Nnwdaf_AnalyticsInfo and Nnwdaf_EventsSubscription over HTTP (3GPP TS 29.520)."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from twinloop.errors import TwinloopError
from twinloop.service.analytics.envelopes import analytics_data
from twinloop.service.analytics.models import EventFilter, EventsSubscription, Form, Requirement, TargetUe, written
from twinloop.service.analytics.nwdaf import Analytics, Who, Wish
from twinloop.service.analytics.problems import ProblemRoute, RefusalError, documented, refused_query
from twinloop.service.analytics.subscriptions import Subscriptions, wrong

ANALYTICS = "/nnwdaf-analyticsinfo/v1/analytics"
SUBSCRIPTIONS = "/nnwdaf-eventssubscription/v1/subscriptions"

Asked = TypeVar("Asked", EventFilter, Requirement, TargetUe)

NO_FEATURES = "0"
"""No optional feature of Nnwdaf_AnalyticsInfo is claimed: the events are served whatever is negotiated."""


def nnwdaf_router(
    analytics: Analytics[Who],
    subscriptions: Subscriptions[Who],
    identity: Callable[..., Any],
    permit: Callable[[str], Awaitable[object]],
) -> APIRouter:
    """The routes of both services. `identity` is a FastAPI dependency that gives who asks, and refuses who may not ask
    for analytics. `permit` raises a TwinloopError for addresses that notifications must not go to.

    Everything wrong here is application/problem+json with the standard's cause.
    """
    problems = documented(400, 401, 403, 404, 415, 429, 500, 503)
    router = APIRouter(route_class=ProblemRoute, tags=["NWDAF analytics"], responses=problems)

    @router.get(ANALYTICS, response_model=None, responses={204: {"description": "There is nothing to tell"}})
    def read_analytics(
        who: Annotated[Any, Depends(identity)],
        event_id: Annotated[str, Query(alias="event-id")],
        ana_req: Annotated[str | None, Query(alias="ana-req")] = None,
        event_filter: Annotated[str | None, Query(alias="event-filter")] = None,
        tgt_ue: Annotated[str | None, Query(alias="tgt-ue")] = None,
        supported_features: Annotated[str | None, Query(alias="supported-features", pattern=r"^[A-Fa-f0-9]*$")] = None,
    ) -> Response:
        """Analytics of one event: statistics of a window that has passed, a prediction of one to come, else of now.

        `ana-req`, `event-filter` and `tgt-ue` are JSON in the query string.
        """
        wish = Wish(
            event_id,
            _parsed(EventFilter, "event-filter", event_filter) or EventFilter(),
            _parsed(TargetUe, "tgt-ue", tgt_ue),
            _parsed(Requirement, "ana-req", ana_req) or Requirement(),
        )
        answer = analytics.ask(wish, who)
        if not answer.told:
            return Response(status_code=204)
        features = None if supported_features is None else NO_FEATURES
        return _answered(analytics_data(event_id, answer, features=features))

    @router.post(SUBSCRIPTIONS, status_code=201, response_model=None, dependencies=[Depends(_json_only)])
    async def create_subscription(
        who: Annotated[Any, Depends(identity)], body: EventsSubscription, request: Request
    ) -> Response:
        """A new subscription."""
        await _permitted(body, permit)
        name, answered = await run_in_threadpool(subscriptions.create, body, who)
        root = analytics.settings.api_root.rstrip("/") or str(request.base_url).rstrip("/")
        return _answered(answered, 201, {"Location": f"{root}{SUBSCRIPTIONS}/{name}"})

    @router.put(SUBSCRIPTIONS + "/{subscription_id}", response_model=None, dependencies=[Depends(_json_only)])
    async def replace_subscription(
        who: Annotated[Any, Depends(identity)], subscription_id: str, body: EventsSubscription
    ) -> Response:
        """Another content for a subscription."""
        await _permitted(body, permit)
        return _answered(await run_in_threadpool(subscriptions.replace, subscription_id, body, who))

    @router.delete(SUBSCRIPTIONS + "/{subscription_id}", status_code=204, response_model=None)
    def end_subscription(who: Annotated[Any, Depends(identity)], subscription_id: str) -> Response:
        """The end of a subscription."""
        subscriptions.end(subscription_id, who)
        return Response(status_code=204)

    return router


def _parsed(form: type[Asked], name: str, text: str | None) -> Asked | None:
    """A form out of the query string."""
    if text is None:
        return None
    try:
        return form.model_validate_json(text)
    except ValidationError as error:
        raise refused_query(name, error) from None


async def _permitted(body: EventsSubscription, permit: Callable[[str], Awaitable[object]]) -> None:
    """Refuses a subscription whose notifications must not go where they should."""
    if body.notification_uri is None:
        return
    try:
        await permit(body.notification_uri)
    except TwinloopError as error:
        raise wrong("notificationURI", str(error)) from None


def _json_only(request: Request) -> None:
    """Refuses what does not say that it is JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        detail = f"the body is {media_type or 'of no stated type'}"
        raise RefusalError(415, "UNSUPPORTED_MEDIA_TYPE", detail, hint="send application/json")


def _answered(form: Form, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content: dict[str, Any] = written(form)
    return JSONResponse(content, status, headers)
