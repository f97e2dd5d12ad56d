"""One person's photos: what is sent, what is refused, what is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from enrollment.enroll import enroll
from enrollment.examine import examine, shown_name
from enrollment.inputs import ConsentTerms
from protocol.messages import Refusal
from tests.enrollment.fakes import FakeDetector, HubInMemory, HubPort, faces, textured, write_picture
from vision.crops import CROP_PX, decode_crop
from vision.detections import Detections
from vision.portrait import SCAN_SIDE_PX, find_faces
from vision.reasons import Reason, Refused

TERMS = ConsentTerms(until=None, cameras=("door",), note="signed")


def pictures(folder: Path, count: int) -> list[Path]:
    return [write_picture(folder / f"{i:03}.png", textured(seed=i)) for i in range(count)]


def test_an_accepted_photo_travels_as_the_crop_contract_says(tmp_path: Path) -> None:
    (path,) = pictures(tmp_path, 1)
    accepted = examine(path, FakeDetector())
    assert not isinstance(accepted, Refused)
    assert accepted.photo.source == "000.png"
    assert 0 < accepted.photo.quality <= 1
    crop = decode_crop(accepted.jpeg, np.array(accepted.photo.landmarks, np.float32))
    assert (crop.landmarks > 0).all()
    assert (crop.landmarks < CROP_PX).all()


def test_large_photos_are_scanned_small_and_cut_in_full(tmp_path: Path) -> None:
    detector = FakeDetector(lambda image: faces((800.0, 400.0, 1000.0, 600.0)))
    found = find_faces(textured(2400, 4800), detector)
    assert detector.shapes == [(SCAN_SIDE_PX // 2, SCAN_SIDE_PX, 3)]
    assert found.boxes_xyxy.tolist() == [[2400.0, 1200.0, 3000.0, 1800.0]]
    assert (found.landmarks[0, 2] == (2700, 1560)).all()


def test_a_thin_strip_holds_no_face() -> None:
    detector = FakeDetector()
    assert len(find_faces(textured(60, 20_000), detector)) == 0
    assert detector.shapes == []


def test_file_names_cannot_steer_a_terminal() -> None:
    assert shown_name(Path("/a/b\x1b[2J.jpg")) == "b\ufffd[2J.jpg"
    assert shown_name(Path("/a/\udce9.jpg")) == "?.jpg"


def test_good_photos_are_enrolled_and_bad_ones_named(tmp_path: Path) -> None:
    good = pictures(tmp_path, 2)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no photo")
    hub, steps = HubInMemory(), []
    report = enroll(
        "Ann Lee", [good[0], bad, good[1]], TERMS, FakeDetector(), HubPort(hub), lambda: steps.append(1)
    )
    assert report.enrolled == ("000.png", "001.png")
    assert [(p.file, p.refused.reason) for p in report.refused] == [("bad.jpg", Reason.NOT_A_PHOTO)]
    assert not report.complete
    assert len(steps) == 3
    (request,) = hub.adds
    assert (request.cameras, request.consent_until, request.note) == (("door",), None, "signed")


def test_all_good_is_complete(tmp_path: Path) -> None:
    report = enroll(
        "Ann Lee", pictures(tmp_path, 1), TERMS, FakeDetector(), HubPort(HubInMemory()), lambda: None
    )
    assert report.complete
    assert report.person is not None


def test_nothing_is_sent_where_no_photo_is_good(tmp_path: Path) -> None:
    hub = HubInMemory()
    blind = FakeDetector(lambda image: Detections.none())
    report = enroll("Ann Lee", pictures(tmp_path, 2), TERMS, blind, HubPort(hub), lambda: None)
    assert hub.adds == []
    assert report.problem_code == "no-photo"
    assert [p.refused.reason for p in report.refused] == [Reason.NO_FACE] * 2


def test_the_same_picture_counts_once(tmp_path: Path) -> None:
    first = write_picture(tmp_path / "a.png", textured())
    again = write_picture(tmp_path / "b.png", textured())
    report = enroll("Ann", [first, again], TERMS, FakeDetector(), HubPort(HubInMemory()), lambda: None)
    assert report.enrolled == ("a.png",)
    (refused,) = report.refused
    assert (refused.refused.reason, refused.refused.text) == (Reason.REPEATED, "the same picture as a.png")


def test_many_photos_travel_in_several_messages(tmp_path: Path) -> None:
    hub = HubInMemory()
    report = enroll("Ann", pictures(tmp_path, 18), TERMS, FakeDetector(), HubPort(hub), lambda: None)
    assert [len(a.photos) for a in hub.adds] == [16, 2]
    assert report.person is not None
    assert len(report.person.templates) == 18


def test_a_refusal_half_way_reports_what_is_kept(tmp_path: Path) -> None:
    refusal = Refusal(session=bytes(16), code="duplicate", text="looks like someone else")
    hub = HubInMemory(refuse={"Ann": refusal}, refuse_from_message=1)
    report = enroll("Ann", pictures(tmp_path, 18), TERMS, FakeDetector(), HubPort(hub), lambda: None)
    assert len(report.enrolled) == 16
    assert (report.problem, report.problem_code) == ("looks like someone else", "duplicate")
    assert not report.complete


def test_the_hub_hears_of_us_during_long_work(tmp_path: Path) -> None:
    port = HubPort(HubInMemory())
    enroll("Ann", pictures(tmp_path, 3), TERMS, FakeDetector(), port, lambda: None)
    assert port.beats == 3
