"""Who gets through to a handler, and the pages on which people sign in. [I/O]

In this order: the Host header is one of ours, an unsafe request comes from our own pages, there is a session
whose user may call the handler, and an unsafe request repeats the session's token. Passwords and sessions are
the part of `hub.web.accounts`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

from aiohttp import web

from hub.store.errors import ConflictError
from hub.web import login_pages as pages
from hub.web.access import CSRF, LEAST_ROLE, USER, Role, User, needs, open_to_all, user_of
from hub.web.accounts import Client, LoginRefusedError, SignedIn
from hub.web.context import CONTEXT, WebContext
from hub.web.passwords import PasswordError
from hub.web.sessions import Cookies, csrf_token, is_csrf_token
from protocol.hosts import host_name, is_address, is_loopback

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_OPEN_BODY = 8_192
"""Before the login only a form with a name and two passwords arrives."""
CSRF_HEADER = "X-CSRF-Token"
TOO_MANY_FIELDS = 16
_LOCAL_PATH = re.compile(r"/(?![/\\])[A-Za-z0-9_.~!$&'()*+,;=:@%/?-]*")
_SIGNED_OUT = "Sign in first."
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="8" '
    'fill="#2f6f6a"/><circle cx="16" cy="13" r="6" fill="#fff"/><path d="M5 29c1-8 6-11 11-11s10 3 11 '
    '11z" fill="#fff"/><rect x="5" y="9" width="22" height="7" rx="3.5" fill="#2f6f6a" opacity=".82"/></svg>'
)


@web.middleware
async def own_host_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """No other site reaches us through a name of its own (DNS rebinding)."""
    context = request.app[CONTEXT]
    name = host_name(request.host).lower()
    wildcard = f"*.{name.partition('.')[2]}"
    if is_loopback(name) or is_address(name) or name in context.names or wildcard in context.names:
        return await handler(request)
    return web.Response(status=403, text="This hub does not answer to that name: see web.names in hub.toml.")


@web.middleware
async def own_pages_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An unsafe request says that it comes from one of our pages, as every browser does by itself."""
    if request.method in SAFE:
        return await handler(request)
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site not in (None, "same-origin") or (site is None and origin is None):
        return _no(request, 403, "That came from another site.")
    scheme = "https" if request.app[CONTEXT].is_tls else "http"
    if origin is not None and origin != f"{scheme}://{request.host}":
        return _no(request, 403, "That came from another site.")
    return await handler(request)


@web.middleware
async def right_user_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Puts `request[USER]` and `request[CSRF]` there, or refuses."""
    if request.match_info.http_exception is not None:  # no such page, for anybody
        return await handler(request)
    least: Role | None = getattr(request.match_info.handler, LEAST_ROLE)
    if least is None:
        if request.method not in SAFE and not 0 <= (request.content_length or -1) <= MAX_OPEN_BODY:
            return _no(request, 413, "That is too long.")
        return await handler(request)
    session, user = await signed_in(request)
    if user is None or session is None:
        return _to_login(request)
    if not user.role.includes(least):
        return _no(request, 403, f"This needs the role {least}.")
    if request.method not in SAFE and not is_csrf_token(session, await _csrf_of(request)):
        return _no(request, 403, "This page is out of date: load it again.")
    request[USER], request[CSRF] = user, csrf_token(session)
    return await handler(request)


MIDDLEWARES = (own_host_only, own_pages_only, right_user_only)


async def signed_in(request: web.Request) -> tuple[str | None, User | None]:
    """The session's id and its user, as they are now: a stream that goes on asks this again at times."""
    context = request.app[CONTEXT]
    session = Cookies(context.is_tls).session(request)
    return session, None if session is None else await context.accounts.find(session)


async def _csrf_of(request: web.Request) -> str:
    """From the header, or from a plain form; a form with files has to send the header."""
    token = request.headers.get(CSRF_HEADER)
    if token is None and request.content_type == "application/x-www-form-urlencoded":
        token = str((await request.post()).get("csrf", ""))
    return token or ""


def _to_login(request: web.Request) -> web.Response:
    if request.method in SAFE and "text/html" in request.headers.get("Accept", ""):
        where = "/login" if request.path == "/" else f"/login?next={quote(request.path_qs, safe='/')}"
        return web.Response(status=303, headers={"Location": where})
    return _no(request, 401, _SIGNED_OUT)


def _no(request: web.Request, status: int, text: str) -> web.Response:
    if "text/html" in request.headers.get("Accept", ""):
        return _html(pages.message_page("That is not possible", text), status)
    return web.json_response({"error": text}, status=status)


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")


class LoginRoutes:
    """The handlers."""

    def __init__(self, context: WebContext) -> None:
        self._accounts = context.accounts
        self._cookies = Cookies(context.is_tls)
        self._css = (Path(__file__).parent / "login.css").read_text("utf-8")

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/login", self._login_page),
            web.post("/login", self._login),
            web.post("/logout", self._logout),
            web.get("/first", self._link_page),
            web.post("/first", self._use_link),
            web.get("/reset", self._link_page),
            web.post("/reset", self._use_link),
            web.get("/password", self._password_page),
            web.post("/password", self._change_password),
            web.get("/login.css", self._style),
            web.get("/login.svg", self._icon),
        ]

    @open_to_all
    async def _style(self, _: web.Request) -> web.Response:
        return web.Response(text=self._css, content_type="text/css", charset="utf-8")

    @open_to_all
    async def _icon(self, _: web.Request) -> web.Response:
        return web.Response(text=ICON, content_type="image/svg+xml", charset="utf-8")

    @open_to_all
    async def _login_page(self, request: web.Request) -> web.Response:
        _, user = await signed_in(request)
        if user is not None:
            return web.Response(status=303, headers={"Location": _local(request.query.get("next", "/"))})
        return _html(pages.login_page(_local(request.query.get("next", "/"))))

    @open_to_all
    async def _login(self, request: web.Request) -> web.Response:
        form = await _form(request)
        name, where = form.get("name", "").strip(), _local(form.get("next", "/"))
        try:
            done = await self._accounts.login(name, form.get("password", ""), self._client(request))
        except LoginRefusedError as exc:
            response = _html(pages.login_page(where, str(exc), name[:64]), 429 if exc.wait_s else 403)
            if exc.wait_s:
                response.headers["Retry-After"] = str(int(exc.wait_s) + 1)
            return response
        return self._go_on(done, where)

    @needs(Role.VIEWER)
    async def _logout(self, request: web.Request) -> web.Response:
        session = self._cookies.session(request)
        assert session is not None, "the user came by it"
        await self._accounts.logout(session, user_of(request))
        response = web.Response(status=303, headers={"Location": "/login"})
        self._cookies.clear(response)
        return response

    @open_to_all
    async def _link_page(self, request: web.Request) -> web.Response:
        code = request.query.get("code", "")
        return await self._offer(request, code) or self._void()

    @open_to_all
    async def _use_link(self, request: web.Request) -> web.Response:
        form = await _form(request)
        code, name, password = form.get("code", ""), form.get("name", "").strip(), form.get("password", "")
        try:
            if password != form.get("again"):
                raise PasswordError("The two passwords are not the same.")
            done = await self._accounts.use_link(code, name, password, self._client(request))
        except (PasswordError, ConflictError) as exc:
            return await self._offer(request, code, str(exc), name[:64]) or self._void()
        return self._void() if done is None else self._go_on(done, "/")

    async def _offer(
        self, request: web.Request, code: str, message: str = "", name: str = ""
    ) -> web.Response | None:
        """The form for a code, at the address that is for its kind."""
        found = await self._accounts.link_of(code)
        if found is None or request.path != f"/{found[0]}":
            return None
        status = 422 if message else 200
        if found[0] == "first":
            return _html(pages.first_page(code, message, name), status)
        return _html(pages.reset_page(code, found[1], message), status)

    def _void(self) -> web.Response:
        text = (
            "This link was used already or is too old. A new one: veilcast-hub users reset-link, on the hub."
        )
        return _html(pages.message_page("This link does not open", text), 410)

    @needs(Role.VIEWER)
    async def _password_page(self, request: web.Request) -> web.Response:
        return _html(pages.password_page(request[CSRF], user_of(request).name))

    @needs(Role.VIEWER)
    async def _change_password(self, request: web.Request) -> web.Response:
        form, user = await _form(request), user_of(request)
        try:
            if form.get("password") != form.get("again"):
                raise PasswordError("The two passwords are not the same.")
            done = await self._accounts.change_password(
                user, form.get("old", ""), form.get("password", ""), self._client(request)
            )
        except (PasswordError, LoginRefusedError) as exc:
            return _html(pages.password_page(request[CSRF], user.name, str(exc)), 422)
        return self._go_on(done, "/")

    def _client(self, request: web.Request) -> Client:
        # A header that names another address could be written by anybody.
        device = self._cookies.device(request)
        return Client(request.remote or "", self._cookies.session(request), device)

    def _go_on(self, done: SignedIn, where: str) -> web.Response:
        response = web.Response(status=303, headers={"Location": where})
        self._cookies.write(response, done.session, done.device)
        return response


def _local(path: str) -> str:
    """A path of this site, whatever was asked for."""
    if not _LOCAL_PATH.fullmatch(path) or urlsplit(path).path in ("/login", "/first", "/reset"):
        return "/"
    return path


async def _form(request: web.Request) -> dict[str, str]:
    """The text fields of a plain form. Raises HTTPException."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise web.HTTPUnsupportedMediaType(text="Send a form.")
    try:
        fields = await request.post()
    except (UnicodeDecodeError, ValueError, LookupError) as exc:
        raise web.HTTPBadRequest(text="That is no form.") from exc
    if len(fields) > TOO_MANY_FIELDS:
        raise web.HTTPBadRequest(text="That is no form of ours.")
    return {name: value for name, value in fields.items() if isinstance(value, str)}
