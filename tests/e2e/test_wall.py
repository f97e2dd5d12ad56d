"""The wall as people use it: real hub, real nodes, real Chromium, from the first start to an erasure.

VEILCAST_SCREENSHOTS=docs/images makes the pictures of docs/watching.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_node.capture.portraits import demo_portrait_path
from edge_node.capture.scene import Scenario
from tests.e2e.film import Film, sights
from tests.e2e.rig import GRACE
from tests.e2e.wall import (
    PASSWORD,
    PHONE,
    WallRig,
    browser,
    frames,
    new_page,
    screenshot,
    sign_in,
    soon,
    wall_rig,
)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1_500)]
EILEEN = "Eileen Collins"
Films = dict[str, Film]
SCENES = {
    "door": (Scenario(1280, 720, 15.0), 0),
    "hall": (Scenario(640, 360, 10.0, seed=5, face_px=140.0, shot_every_s=20.0), 200),
    "yard": (Scenario(640, 360, 10.0, seed=8, face_px=80.0, shot_every_s=20.0), 400),
}
"""Each with two people, from the second number's frame on. Small ones, so that three nodes, the hub and a
browser have room on two cores: a node that cannot keep up shows nobody."""
NODES = tuple(SCENES)
LIGHT = 'min_face_px = 60\nveil_detector = "off"'
"""Browser, hub and other nodes share this machine."""
AXE = "axe_playwright_python.sync_playwright"
SERIOUS = ("serious", "critical")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[WallRig]:
    with wall_rig(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    folder = tmp_path_factory.mktemp("films")
    made = {name: Film(folder / f"{name}.mp4", *scene) for name, scene in SCENES.items()}
    for film in made.values():
        film.write()
    return made


def tile(page: Any, camera: str) -> Any:
    return page.locator(f'[data-camera="{camera}"]')


def advances(page: Any, camera: str) -> None:
    """The video of a camera is there and goes on."""
    soon(lambda: frames(page, camera) >= 0, f"{camera} plays")
    before = frames(page, camera)
    soon(lambda: frames(page, camera) > before + 10, f"frames of {camera} advance")


def says(page: Any, camera: str, words: str) -> None:
    """A tile shows these words, or tells them to a screen reader."""
    found = tile(page, camera)

    def holds() -> bool:
        label = found.locator(".cover").get_attribute("aria-label") or ""
        return words in found.inner_text() or words in label

    soon(holds, f"the tile of {camera} says {words!r}")


def shows(page: Any, films: Films, camera: str, *names: str) -> None:
    """The pixels of a tile show these people, and nobody else at any time meanwhile."""
    left = set(names)

    def saw_all() -> bool:
        for sight in sights(page, camera, films[camera]):
            if sight.identity in names:
                left.difference_update({sight.identity} if sight.is_shown else ())
            else:
                assert sight.is_veiled, (camera, sight)
        return not left

    soon(saw_all, f"{names} in the picture of {camera}")


def veils(page: Any, films: Films, camera: str, *names: str) -> None:
    """The pixels of a tile, a dozen pictures of it, show none of these people."""
    judged = dict.fromkeys(names, 0)

    def judged_all() -> bool:
        for sight in sights(page, camera, films[camera]):
            if sight.identity in judged:
                assert sight.is_veiled, (camera, sight)
                judged[sight.identity] += 1
        return min(judged.values()) >= 12

    soon(judged_all, f"a dozen looks at {names} in the picture of {camera}")


def add(page: Any, name: str, until: str = "", cameras: Sequence[str] = ()) -> None:
    """Enrol a portrait of the demo by upload."""
    page.click("#add")
    page.fill("#name", name)
    page.set_input_files("#files", [str(demo_portrait_path(name))])
    page.fill("#until", until)
    for camera in cameras:
        page.locator("label.choice", has_text=camera).click()
    page.click("#add-send")
    asking, problem = page.locator("#add-dialog"), page.locator("#add-problem")
    soon(lambda: problem.is_visible() or not asking.is_visible(), f"an answer about {name}")
    assert not asking.is_visible(), problem.inner_text()


def findings(page: Any) -> list[str]:
    """What axe calls serious."""
    axe = pytest.importorskip(AXE, reason="axe-playwright-python is not installed").Axe()
    violations = axe.run(page).response["violations"]
    return [f"{v['id']}: {n['html']}" for v in violations if v["impact"] in SERIOUS for n in v["nodes"]]


def test_from_the_first_start_to_an_erasure(rig: WallRig, films: Films, tmp_path: Path) -> None:
    for name in NODES:
        rig.add_node(name, str(films[name].path), detect=LIGHT)
    rig.start_hub()
    for name in NODES:
        rig.start_node(name)
    with browser() as opened:
        page = new_page(opened)
        _first_admin(page, rig)
        for name in NODES:
            advances(page, name)
            veils(page, films, name, GRACE, EILEEN)
        page.goto(f"{rig.url}/people")
        add(page, GRACE)
        add(page, EILEEN, str(date.today() + timedelta(days=20)), ["yard"])
        assert page.locator(".person").count() == 2
        screenshot(page, "people", tmp_path)
        page.goto(rig.url)
        for name in NODES:
            says(page, name, GRACE)
            shows(page, films, name, GRACE, *([EILEEN] if name == "yard" else []))
            advances(page, name)
        soon(lambda: page.locator(".latency:visible").count() == len(NODES), "ages are shown")
        screenshot(page, "wall", tmp_path)
        page.emulate_media(color_scheme="dark")
        screenshot(page, "wall-dark", tmp_path)
        page.emulate_media(color_scheme="light")
        _keyboard(page)
        _hub_lost_and_back(page, rig, films)
        _withdraw_and_erase(page, rig, films, tmp_path)
        for name in ("activity", "system"):
            page.goto(f"{rig.url}/{name}")
            page.wait_for_timeout(2_500)
            assert "…" not in page.inner_text("#summary")
            screenshot(page, name, tmp_path)


def _hub_lost_and_back(page: Any, rig: WallRig, films: Films) -> None:
    rig.kill("hub")
    for name in NODES:
        says(page, name, "Hub unreachable")
        assert GRACE not in tile(page, name).inner_text()
        veils(page, films, name, GRACE, EILEEN)
        advances(page, name)
    rig.start_hub()
    for name in NODES:
        says(page, name, GRACE)
        shows(page, films, name, GRACE, *([EILEEN] if name == "yard" else []))


def _first_admin(page: Any, rig: WallRig) -> None:
    page.goto(rig.first_link())
    page.fill("#name", "ann")
    page.fill("#password", PASSWORD)
    page.fill("#again", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector("#wall", state="attached")


def _keyboard(page: Any) -> None:
    page.locator(".cover").first.focus()
    page.keyboard.press("ArrowRight")
    focused = page.evaluate("document.activeElement.closest('[data-camera]').dataset.camera")
    assert focused == NODES[1]
    page.keyboard.press("Enter")
    soon(lambda: page.evaluate("Boolean(document.fullscreenElement)"), "the tile fills the screen")
    page.keyboard.press("Enter")
    soon(lambda: not page.evaluate("Boolean(document.fullscreenElement)"), "and leaves it")


def _withdraw_and_erase(page: Any, rig: WallRig, films: Films, folder: Path) -> None:
    page.goto(f"{rig.url}/people")
    person = page.locator(f'[data-person="{GRACE}"]')
    person.get_by_role("button", name="Withdraw").click()
    soon(lambda: "Withdrawn" in person.inner_text(), "the consent is withdrawn")
    page.goto(rig.url)
    for name in NODES:
        advances(page, name)
        says(page, name, "1 person shown" if name == "yard" else "0 people shown")
        assert GRACE not in tile(page, name).inner_text()
        veils(page, films, name, GRACE)
    shows(page, films, "yard", EILEEN)
    page.goto(f"{rig.url}/people")
    page.locator(f'[data-person="{GRACE}"]').get_by_role("button", name="Erase").click()
    page.click("#erase-send")
    page.wait_for_selector("#erase-receipt:visible")
    with page.expect_download() as download:
        page.click("#erase-receipt")
    target = folder / "receipt.json"
    download.value.save_as(target)
    rig.check("hub", "receipt", "verify", str(target), *rig.state)
    page.keyboard.press("Escape")
    assert page.locator(".person").count() == 1


def test_a_viewer_sees_one_camera_and_no_names_on_a_phone(rig: WallRig, tmp_path: Path) -> None:
    rig.add_node("door", detect=LIGHT, veil="captions = false")
    rig.add_node("hall", detect=LIGHT)
    rig.add_user("vic", "--role", "viewer", "--camera", "door")
    rig.add_user("ann", "--role", "admin")
    rig.start_hub()
    rig.start_node("door")
    with browser() as opened:
        admin = new_page(opened)
        sign_in(admin, rig.url, "ann")
        admin.goto(f"{rig.url}/people")
        add(admin, GRACE)
        page = new_page(opened, "light", PHONE)
        sign_in(page, rig.url, "vic")
        advances(page, "door")
        assert page.locator(".tile").count() == 1, "hall is not theirs"
        shown = tile(page, "door").locator(".count b").first
        soon(lambda: shown.inner_text() == "1", "she is counted as shown")
        assert GRACE not in page.content()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        screenshot(page, "phone", tmp_path)
        for path in ("people", "activity", "system"):
            answer = page.goto(f"{rig.url}/{path}")
            assert answer.status == 403, path
        page.goto(rig.url)
        advances(page, "door")
        rig.kill("hub")
        soon(lambda: page.locator("#trouble").is_visible(), "the page says that the hub is gone")
        advances(page, "door")
        rig.start_hub()
        soon(lambda: not page.locator("#trouble").is_visible(), "the hub is back")


def test_no_page_has_a_serious_finding_of_axe(rig: WallRig, tmp_path: Path) -> None:
    rig.add_node("door", detect=LIGHT)
    rig.add_user("ann", "--role", "admin")
    rig.start_hub()
    with browser() as opened:
        for scheme, viewport in (("light", None), ("dark", PHONE)):
            page = new_page(opened, scheme, viewport)
            page.goto(f"{rig.url}/login")
            assert findings(page) == []
            screenshot(page, f"login-{scheme}", tmp_path)
            sign_in(page, rig.url, "ann")
            page.goto(f"{rig.url}/people")
            if scheme == "light":
                add(page, GRACE)
            for path in ("", "people", "activity", "system"):
                page.goto(f"{rig.url}/{path}")
                page.wait_for_timeout(1_500)
                assert findings(page) == [], (scheme, path)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (scheme, path)
            page.goto(f"{rig.url}/people")
            page.click("#add")
            assert findings(page) == [], (scheme, "the form")
