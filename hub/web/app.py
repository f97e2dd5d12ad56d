"""The hub's web application: login, pages, and the headers of every answer. [I/O]

Built once by `hub.web.site`. Refuses to exist with a route that does not say who may call it.
"""

from __future__ import annotations

from aiohttp import web

from hub.web.access import LEAST_ROLE
from hub.web.auth import MIDDLEWARES, LoginRoutes
from hub.web.context import CONTEXT, WebContext

MAX_BODY_BYTES = 16 * 2**20
"""A few photos of a person, sent by an operator; before the login far less is taken (hub.web.auth)."""
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not "no-referrer": forms would then come with the origin "null" (hub.web.auth looks at it).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Server": "veilcast",
}


def build_app(context: WebContext) -> web.Application:
    """The application; pages are added before it is served, and each route of theirs is checked then."""
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=MIDDLEWARES)
    app[CONTEXT] = context
    app.add_routes(LoginRoutes(context).routes())
    app.on_response_prepare.append(_add_headers)
    app.on_startup.append(_check_routes)
    return app


def content_policy(origins: tuple[str, ...]) -> str:
    """Nothing runs inline or from elsewhere; pictures and their sessions come from these nodes as well."""
    streams = " ".join(("'self'", *origins))
    return (
        f"default-src 'none'; img-src {streams} blob:; media-src {streams} blob:; connect-src {streams}; "
        "script-src 'self'; style-src 'self'; font-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    origins = tuple(o for o in request.app[CONTEXT].stream_origins() if not set(o) & set(" ;,'\"\r\n"))
    response.headers.update(HEADERS)
    response.headers["Content-Security-Policy"] = content_policy(origins)


async def _check_routes(app: web.Application) -> None:
    for route in app.router.routes():
        if not hasattr(route.handler, LEAST_ROLE):
            raise ValueError(f"{route.method} {route.resource} does not say who may call it: use @needs")
