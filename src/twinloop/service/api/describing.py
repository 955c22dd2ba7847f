"""The API described: for programs, and as a page that needs nothing from elsewhere."""

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)
ASSETS = Mount("/docs/assets", StaticFiles(directory=str(files("fastapi_offline") / "static")))
DESCRIBING = frozenset({"GET /openapi.json", "GET /docs", "ANY /docs/assets"})
"""Public routes of this module."""

_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """The API in OpenAPI 3.1."""
    request.app.state.guard.admit(request.scope)
    described: dict[str, Any] = request.app.openapi()
    return JSONResponse(described)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The same as a page to read and to try requests on."""
    request.app.state.guard.admit(request.scope)
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="twinloop: API",
        swagger_js_url="docs/assets/swagger-ui-bundle.js",
        swagger_css_url="docs/assets/swagger-ui.css",
        swagger_favicon_url="data:,",
    )
    page.headers["Content-Security-Policy"] = _POLICY
    return page
