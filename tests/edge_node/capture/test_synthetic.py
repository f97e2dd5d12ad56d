"""Drawn scenes: the same from the same seed, true labels, and every event that they promise."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_node.capture import portraits as portraits_module
from edge_node.capture.opening import open_source
from edge_node.capture.portraits import (
    DEMO_NAMES,
    Portrait,
    cut_out,
    demo_portrait,
    demo_portraits,
    folder_portraits,
)
from edge_node.capture.scene import DEMO, Scenario, moment
from edge_node.capture.source import SourceEnded, SourceError, SourceOptions
from edge_node.capture.synthetic import SceneRenderer, SceneSource

SMALL = {"width": 320, "height": 180, "face_px": 40.0}


def flat_portrait(identity: str, color: tuple[int, int, int]) -> Portrait:
    """A person of one color: a face of 40x50 px on a body."""
    photo = np.full((200, 160, 3), color, np.uint8)
    return cut_out(identity, photo, (60.0, 40.0, 100.0, 90.0), np.full((200, 160), 255, np.uint8))


@pytest.fixture(scope="module")
def draw() -> Callable[..., SceneRenderer]:
    people = [flat_portrait("red", (0, 0, 250)), flat_portrait("blue", (250, 0, 0))]
    return lambda **changes: SceneRenderer(Scenario(**{**SMALL, **changes}), people)


@pytest.fixture(scope="module")
def demo() -> SceneRenderer:
    pytest.importorskip("skimage", reason="the demo portraits are not installed")
    return SceneRenderer(DEMO, demo_portraits())


def test_any_frame_is_the_same_each_time(draw: Callable[..., SceneRenderer]) -> None:
    everything = {
        "people": 3, "visit_s": 4.0, "turning_deg": 50.0, "lighting": 0.4, "motion_blur": True,
        "shot_every_s": 3.0, "occluder_every_s": 8.0,
    }  # fmt: skip
    one, other = draw(**everything), draw(**everything)
    one.render(3)
    for n in (150, 40, 150):
        image, truth = one.render(n)
        again, same = other.render(n)
        assert np.array_equal(image, again)
        assert truth == same
    assert draw(**everything, seed=2).render(40)[1] != other.render(40)[1]


def test_boxes_are_where_the_faces_are(draw: Callable[..., SceneRenderer]) -> None:
    image, truth = draw().render(7)
    colors = {"red": (0, 0, 250), "blue": (250, 0, 0)}
    assert [t.identity for t in sorted(truth, key=lambda t: t.box_xyxy)] == ["red", "blue"]
    for face in truth:
        x1, y1, x2, y2 = (round(v) for v in face.box_xyxy)
        inside = image[y1 + 3 : y2 - 3, x1 + 3 : x2 - 3]
        assert (inside == colors[face.identity]).all()
        assert (y2 - y1) == pytest.approx(40, rel=0.12)
        assert (face.visible, face.kind) == (1.0, "frontal")


def test_the_visible_part_matches_the_pixels(draw: Callable[..., SceneRenderer]) -> None:
    renderer = draw(crossing_every_s=6.0)
    colors = {"red": 2, "blue": 0}
    partly = 0
    for n in range(70, 150, 4):
        image, truth = renderer.render(n)
        for face in truth:
            x1, y1, x2, y2 = (round(v) for v in face.box_xyxy)
            oval = np.zeros(image.shape[:2], np.uint8)
            center, axes = ((x1 + x2) // 2, (y1 + y2) // 2), ((x2 - x1) // 2, (y2 - y1) // 2)
            cv2.ellipse(oval, center, axes, 0, 0, 360, (1,), -1)
            channel = colors[face.identity]
            seen = (image[..., channel] > 200) & (image[..., 2 - channel] < 60) & (oval > 0)
            assert face.visible == pytest.approx(seen.sum() / oval.sum(), abs=0.12)
            partly += face.visible < 0.9
    assert partly >= 3


def test_neighbors_change_places_one_before_the_other() -> None:
    scenario = Scenario(crossing_every_s=10.0)
    before = {p.actor: p.x for p in moment(scenario, 0).poses}
    after = {p.actor: p.x for p in moment(scenario, 260).poses}
    assert before[0] < 640 < before[1]
    assert after[1] < 640 < after[0]
    path = [{p.actor: p for p in moment(scenario, n).poses} for n in range(250 - 90, 250)]
    closest = min(path, key=lambda poses: abs(poses[0].x - poses[1].x))
    assert abs(closest[0].x - closest[1].x) < 40
    assert all(abs(b[0].x - a[0].x) < 20 for a, b in itertools.pairwise(path))


def test_many_people_change_places_for_ever_and_never_share_one() -> None:
    scenario = Scenario(people=4, crossing_every_s=5.0)
    for k in range(40):
        xs = sorted(p.x for p in moment(scenario, k * 125 + 10).poses)
        assert min(b - a for a, b in itertools.pairwise(xs)) > 150


def test_visitors_walk_in_and_out_under_a_new_track_each_time() -> None:
    scenario = Scenario(people=2, visit_s=4.0, absence_s=2.0)
    seen: dict[int, list[float]] = {}
    for n in range(25 * 40):
        for pose in moment(scenario, n).poses:
            seen.setdefault(pose.track, []).append(pose.x)
    assert len(seen) >= 10
    whole = [xs for xs in seen.values() if len(xs) >= 99]
    assert whole
    for xs in whole:
        assert min(xs) < 0
        assert max(xs) > scenario.width
        assert abs(xs[-1] - xs[0]) > scenario.width
    for n in range(25 * 40):
        tracks = [p.track for p in moment(scenario, n).poses]
        assert len(tracks) == len(set(tracks))


def test_a_shot_cut_changes_room_size_and_tracks(draw: Callable[..., SceneRenderer]) -> None:
    renderer = draw(shot_every_s=2.0)
    (before, old), (after, new) = renderer.render(49), renderer.render(50)
    assert np.abs(before.astype(int) - after).mean() > 10
    assert not {t.track for t in old} & {t.track for t in new}


def test_heads_turn_until_they_are_profiles(draw: Callable[..., SceneRenderer]) -> None:
    renderer = draw(turning_deg=60.0)
    faces = [t for n in range(0, 400, 5) for t in renderer.render(n)[1] if t.track == 0]
    widths = [(t.box_xyxy[2] - t.box_xyxy[0]) / (t.box_xyxy[3] - t.box_xyxy[1]) for t in faces]
    assert min(widths) < 0.7 * max(widths)
    assert {t.kind for t in faces} >= {"frontal", "profile"}


def test_light_sways_and_movement_blurs(draw: Callable[..., SceneRenderer]) -> None:
    light = [draw(lighting=0.5).render(n)[0].mean() for n in range(0, 225, 25)]
    assert max(light) > 1.3 * min(light)
    walk = {"visit_s": 3.0, "absence_s": 0.5, "people": 1}
    sharp, blurred = draw(**walk).render(30)[0], draw(**walk, motion_blur=True).render(30)[0]
    assert not np.array_equal(sharp, blurred)


def test_the_demo_shows_both_people_and_hides_them_now_and_then(demo: SceneRenderer) -> None:
    visible: dict[str, list[float]] = {name: [] for name in DEMO_NAMES}
    for n in range(0, 1250, 10):
        for face in demo.render(n)[1]:
            visible[face.identity].append(face.visible)
            assert face.kind in ("frontal", "partial")
    for values in visible.values():
        assert len(values) == 125
        assert sum(v > 0.95 for v in values) > 90
    assert min(min(values) for values in visible.values()) < 0.3


def test_the_demo_opens_as_a_source() -> None:
    pytest.importorskip("skimage", reason="the demo portraits are not installed")
    source = open_source("demo", SourceOptions(width=640, height=360, fps=10.0))
    frames = [source.read() for _ in range(3)]
    assert [f.pts_s for f in frames] == pytest.approx([0.0, 0.1, 0.2])
    assert frames[0].image.shape == (360, 640, 3)
    assert not source.info.is_live


def test_a_scene_can_be_of_a_certain_length(draw: Callable[..., SceneRenderer]) -> None:
    source = SceneSource(draw(), "scene", frames=2)
    source.read()
    source.read()
    with pytest.raises(SourceEnded):
        source.read()


def test_the_photos_to_enroll_are_the_originals() -> None:
    pytest.importorskip("skimage", reason="the demo portraits are not installed")
    assert demo_portrait("Grace Hopper").shape == (600, 512, 3)
    assert demo_portrait("Eileen Collins").shape == (512, 512, 3)
    with pytest.raises(ValueError, match="knows Grace Hopper"):
        demo_portrait("Nobody")


def test_a_portrait_is_read_without_what_draws_plots() -> None:
    pytest.importorskip("skimage", reason="the demo portraits are not installed")
    script = (
        "import sys; from edge_node.capture.portraits import demo_portrait; "
        "demo_portrait('Grace Hopper'); print('matplotlib.pyplot' in sys.modules)"
    )
    # In a process of its own: another test may have drawn a plot in this one.
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_absent_portraits_name_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portraits_module.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SourceError, match=r"pip install 'veilcast\[demo\]'"):
        demo_portraits()


def test_a_folder_makes_portraits_by_person_and_by_photo(tmp_path: Path) -> None:
    (tmp_path / "ann").mkdir()
    photo = np.full((100, 80, 3), 200, np.uint8)
    for name in ("ann/1.jpg", "ann/2.png", "bob.jpg"):
        cv2.imwrite(str(tmp_path / name), photo)
    (tmp_path / "broken.jpg").write_bytes(b"no")
    (tmp_path / "notes.txt").write_text("no photo")
    found = folder_portraits(tmp_path, lambda _: (20.0, 20.0, 60.0, 70.0))
    assert [p.identity for p in found] == ["ann", "ann", "bob"]
    assert found[0].bgra[45, 40, 3] == 255
    assert found[0].bgra[0, 0, 3] == 0
    with pytest.raises(SourceError, match="no photo with a face"):
        folder_portraits(tmp_path, lambda _: None)
    with pytest.raises(SourceError, match="there is no folder"):
        folder_portraits(tmp_path / "none", lambda _: None)


@pytest.mark.parametrize("wrong", [{"width": 0}, {"fps": 0.0}, {"people": 0}, {"turning_deg": 90.0}])
def test_impossible_scenarios_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Scenario(**wrong)  # type: ignore[arg-type]
