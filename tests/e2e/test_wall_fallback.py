"""Live pictures on the wall where video does not come, and beyond the end of a ticket: in a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_node.capture.scene import Scenario
from tests.e2e.film import Film, judged
from tests.e2e.wall import PATIENCE_S, WallRig, browser, frames, new_page, sign_in, soon, wall_rig

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1_500),
    pytest.mark.skipif(not os.environ.get("VEILCAST_LONG"), reason="takes two minutes: set VEILCAST_LONG=1"),
]
TICKET_S = 10
"""The shortest that a hub gives."""
SCENE = Scenario(640, 360, 10.0, face_px=90.0)
BARE = """() => {
  const over = document.querySelectorAll(".top, .bottom, .cover, .note");
  for (const element of over) element.style.visibility = "hidden";
}"""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[WallRig]:
    with wall_rig(tmp_path) as made:
        yield made


@pytest.fixture
def film(tmp_path: Path) -> Film:
    made = Film(tmp_path / "door.mp4", SCENE)
    made.write()
    return made


class Answers:
    """What a page's node said to requests of live video."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self.seen: list[tuple[str, int]] = []
        page.on("response", self._note)

    def count(self, method: str) -> int:
        self._page.wait_for_timeout(50)  # events are delivered only while the driver is asked for something
        return sum(1 for seen, status in self.seen if seen == method and status < 300)

    def _note(self, response: Any) -> None:
        if "/whep" in response.url:
            self.seen.append((response.request.method, response.status))


def shown_frame(page: Any, film: Film) -> int | None:
    """The number of the frame in the tile's <img>, all of whose faces must be veiled; None without one."""
    picture = page.locator('[data-camera="door"] img')
    if not picture.is_visible():
        return None
    page.evaluate(BARE)
    found = judged(picture.screenshot(), film)
    assert all(sight.is_veiled for sight in found), found
    return found[0].frame if found else None


def pictures_go_on(page: Any, film: Film) -> None:
    seen: set[int] = set()

    def moved() -> bool:
        number = shown_frame(page, film)
        seen.update(() if number is None else (number,))
        return len(seen) >= 5

    soon(moved, "pictures go on")


def open_wall(opened: Any, rig: WallRig, path: str = "") -> Any:
    page = new_page(opened)
    sign_in(page, rig.url, "ann")
    if path:
        page.goto(f"{rig.url}/{path}")
    return page


def test_pictures_take_over_and_both_outlive_their_tickets(rig: WallRig, film: Film) -> None:
    rig.add_node("door", str(film.path), detect='min_face_px = 60\nveil_detector = "off"')
    for name in ("ann", "bob"):
        rig.add_user(name, "--role", "admin")
    rig.start_hub(web=f"ticket_s = {TICKET_S}.0")
    rig.start_node("door")
    with browser() as opened:
        video = open_wall(opened, rig)
        soon(lambda: frames(video, "door") > 0, "video plays")
        answers = Answers(video)
        pictures = open_wall(opened, rig, "?mjpeg")
        pictures_go_on(pictures, film)
        soon(lambda: answers.count("PUT") >= 3, "the ticket was renewed again and again")
        assert answers.count("POST") == 0, "and the session is the same"
        before = frames(video, "door")
        soon(lambda: frames(video, "door") > before + 10, "video goes on")
        # By now the ticket of the pictures has ended, too.
        pictures_go_on(pictures, film)
        pictures.context.close()
        _video_fails_and_comes_back(video, film)
        rig.check("hub", "users", "remove", "ann", *rig.state)
        video.wait_for_url("**/login**", timeout=1000 * PATIENCE_S)


def _video_fails_and_comes_back(page: Any, film: Film) -> None:
    page.route("**/whep", lambda route: route.abort())
    page.reload()
    pictures_go_on(page, film)
    page.unroute("**/whep")
    soon(lambda: frames(page, "door") > 0, "video is tried again, and takes over")
    assert not page.locator('[data-camera="door"] img').is_visible()
