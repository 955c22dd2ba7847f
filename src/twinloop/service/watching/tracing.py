"""OpenTelemetry, where it is wanted: every slot and every request a span, sent by OTLP over HTTP."""

import importlib
import time
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from twinloop.errors import MissingExtraError
from twinloop.service.correlation import Application, Message, Receive, Scope, Send, correlation

_LAST_PART = "act"


class TelemetrySettings(BaseModel):
    """Where spans go: the base address of an OTLP/HTTP collector, such as http://127.0.0.1:4318."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+(/[^\s]*)?$")]
    service_name: Annotated[str, Field(min_length=1, max_length=128)] = "twinloop"


class Tracing:
    """Makes spans of what was measured anyway. What cannot be sent is dropped by the exporter, and never waited for."""

    def __init__(self, settings: TelemetrySettings, slot: Callable[[], int]) -> None:
        trace = _loaded("opentelemetry.sdk.trace")
        export = _loaded("opentelemetry.sdk.trace.export")
        otlp = _loaded("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        resource = _loaded("opentelemetry.sdk.resources").Resource.create({"service.name": settings.service_name})
        self._api: Any = _loaded("opentelemetry.trace")
        self._provider: Any = trace.TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = otlp.OTLPSpanExporter(endpoint=settings.endpoint.rstrip("/") + "/v1/traces")
        self._provider.add_span_processor(export.BatchSpanProcessor(exporter))
        self._tracer: Any = self._provider.get_tracer("twinloop")
        self._slot = slot
        self._parts: list[tuple[str, int, int]] = []

    def observe(self, part: str, seconds: float) -> None:
        """A part of a slot has ended; its last one ends the slot. On the runner's thread."""
        end_ns = time.time_ns()
        self._parts.append((part, end_ns - int(seconds * 1e9), end_ns))
        if part != _LAST_PART:
            return
        parts, self._parts = self._parts, []
        whole = self._tracer.start_span("slot", start_time=parts[0][1], attributes={"twinloop.slot": self._slot()})
        inside = self._api.set_span_in_context(whole)
        for name, start_ns, part_end_ns in parts:
            self._tracer.start_span(f"slot.{name}", context=inside, start_time=start_ns).end(part_end_ns)
        whole.end(end_ns)

    def requests(self, application: Application) -> Application:
        """The application with a span for each request over HTTP."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await application(scope, receive, send)
                return
            span = self._tracer.start_span(scope["method"], kind=self._api.SpanKind.SERVER)

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await application(scope, receive, told)
            finally:
                route = str(getattr(scope.get("route"), "path", ""))
                span.update_name(f"{scope['method']} {route}".strip())
                span.set_attributes(
                    {
                        "http.request.method": scope["method"],
                        "http.route": route,
                        "twinloop.correlation": correlation.get(),
                    }
                )
                span.end()

        return traced

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


def _loaded(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtraError("[telemetry]", "telemetry") from None
