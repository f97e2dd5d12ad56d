"""All pages about cameras and people, added to the application of `hub.web.app`."""

from __future__ import annotations

from aiohttp import web

from hub.web.activity import Activity
from hub.web.context import CONTEXT
from hub.web.enrol import Enrol
from hub.web.people import People
from hub.web.shell import Shell
from hub.web.system import System
from hub.web.uploads import PhotoDesk
from hub.web.wall import Wall


def add_pages(app: web.Application, photos: PhotoDesk | None = None) -> None:
    """Add the routes; none where the hub offers nothing to show. `photos` is for tests."""
    if app[CONTEXT].pages is None:
        return
    shell, photos = Shell(), photos or PhotoDesk()
    wall = Wall(shell)
    app.add_routes([web.get("/static/{name}", shell.file)])
    for part in (wall, People(shell), Enrol(photos), Activity(shell), System(shell)):
        app.add_routes(part.routes())
    app.on_shutdown.append(wall.stop)
    app.on_cleanup.append(photos.close)
