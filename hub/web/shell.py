"""The frame of every page: head, navigation, who is signed in; and the files of hub/web/static.

Pages are plain HTML in hub/web/static/NAME.html with what varies put in here, escaped. Files are read once.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from aiohttp import web

from hub.web.access import CSRF, Role, User, open_to_all, user_of
from hub.web.context import CONTEXT
from protocol.live_video import live_video_script

FOLDER = Path(__file__).parent / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the navigation."""

    path: str
    title: str
    icon: str
    least: Role


PLACES = (
    Place("/", "Live", "live", Role.VIEWER),
    Place("/people", "People", "people", Role.OPERATOR),
    Place("/activity", "Activity", "activity", Role.OPERATOR),
    Place("/system", "System", "system", Role.OPERATOR),
)


class Shell:
    """Renders pages and serves static files, all from memory."""

    def __init__(self) -> None:
        self._frame = Template((FOLDER / "frame.html").read_text("utf-8"))
        self._bodies = {p.stem: p.read_text("utf-8") for p in FOLDER.glob("*.html") if p.stem != "frame"}
        self._files = {p.name: p.read_bytes() for p in FOLDER.iterdir() if p.suffix in TYPES}
        self._files["live_video.js"] = live_video_script().encode()
        self._tags = {
            name: f'"{hashlib.sha256(data).hexdigest()[:16]}"' for name, data in self._files.items()
        }

    def page(self, request: web.Request, name: str) -> web.Response:
        """The page of hub/web/static/NAME.html for whoever asks."""
        user = user_of(request)
        place = next(p for p in PLACES if p.icon == name)
        text = self._frame.substitute(
            title=escape(place.title), name=name, body=self._bodies[name],
            navigation=_navigation(user, place), user=escape(user.name), role=user.role.value,
            csrf=escape(request[CSRF]), origins=escape(" ".join(request.app[CONTEXT].stream_origins())),
        )  # fmt: skip
        return web.Response(text=text, content_type="text/html", charset="utf-8")

    @open_to_all
    async def file(self, request: web.Request) -> web.Response:
        """A static file; it holds nothing that needs a login."""
        name = request.match_info["name"]
        data = self._files.get(name)
        if data is None:
            raise web.HTTPNotFound(text="There is no such file.")
        headers = {"ETag": self._tags[name], "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        kind = TYPES[Path(name).suffix]
        return web.Response(body=data, content_type=kind, charset="utf-8", headers=headers)


def _navigation(user: User, here: Place) -> str:
    return "\n".join(
        f'<li><a href="{p.path}"{" aria-current=" + chr(34) + "page" + chr(34) if p is here else ""}>'
        f'<svg aria-hidden="true"><use href="/static/icons.svg#{p.icon}"></use></svg>'
        f"<span>{p.title}</span></a></li>"
        for p in PLACES
        if user.role.includes(p.least)
    )
