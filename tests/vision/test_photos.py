"""Files into upright pixels; what is no photo is refused with its reason."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.enrollment.fakes import textured
from vision import photos
from vision.errors import PhotoError
from vision.photos import read_photo
from vision.reasons import Reason

# EXIF with nothing but orientation 6: the picture is to be turned 90 degrees clockwise.
TURNED = bytes.fromhex("457869660000 49492a0008000000 0100 1201 0300 01000000 06000000 00000000")


def encoded(kind: str, height: int = 90, width: int = 120) -> bytes:
    done, data = cv2.imencode(kind, textured(height, width))
    assert done
    return data.tobytes()


def with_segment(jpeg: bytes, body: bytes) -> bytes:
    """A JPEG with one more APP1 segment."""
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def refusal(path: Path, data: bytes | None = None) -> Reason:
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PhotoError) as caught:
        read_photo(path)
    assert str(caught.value)
    return caught.value.refused.reason


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
def test_photos_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo"  # the content counts, not the suffix
    path.write_bytes(encoded(kind))
    assert read_photo(path).shape == (90, 120, 3)


def test_a_lossless_photo_keeps_its_pixels_in_bgr(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png"))
    assert np.array_equal(read_photo(path), textured(90, 120))


def test_a_photo_taken_upright_is_turned(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(with_segment(encoded(".jpg"), TURNED))
    assert read_photo(path).shape == (120, 90, 3)


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
def test_a_file_that_is_cut_short_is_corrupt(tmp_path: Path, kind: str) -> None:
    data = encoded(kind)
    for part in (0.3, 0.6, 0.97):
        assert refusal(tmp_path / "a", data[: int(len(data) * part)]) is Reason.CORRUPT


def test_a_whole_thumbnail_does_not_stand_for_a_cut_photo(tmp_path: Path) -> None:
    data = with_segment(encoded(".jpg"), b"Exif\0\0 thumbnail \xff\xd8 \xff\xd9")
    assert refusal(tmp_path / "a.jpg", data[: len(data) * 2 // 3]) is Reason.CORRUPT


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
def test_any_damage_is_a_photo_or_a_reason(tmp_path: Path, kind: str) -> None:
    data, path, rng = encoded(kind), tmp_path / "a", np.random.default_rng(1)
    for _ in range(60):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 8):
            broken[at] = rng.integers(0, 256)
        path.write_bytes(bytes(broken))
        with contextlib.suppress(PhotoError):
            assert read_photo(path).ndim == 3


def test_complaints_of_the_codecs_stay_out_of_the_report(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = encoded(".png")
    middle = len(data) // 2
    assert refusal(tmp_path / "a.png", data[:middle] + bytes(200) + data[middle + 200 :]) is Reason.CORRUPT
    os.write(2, b"still here")
    assert capfd.readouterr().err == "still here"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"hello, this is text", Reason.NOT_A_PHOTO),
        (b"GIF89a" + bytes(40), Reason.NOT_A_PHOTO),
        (b"\0\0\0\x18ftypheic" + bytes(40), Reason.NOT_A_PHOTO),
        (b"\xff\xd8\xff", Reason.CORRUPT),
        (b"\x89PNG\r\n\x1a\n", Reason.CORRUPT),
        (b"RIFF\0\0\0\0WEBP", Reason.CORRUPT),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, data: bytes, reason: Reason) -> None:
    assert refusal(tmp_path / "a.jpg", data) is reason


def test_a_phone_format_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(PhotoError, match="HEIC is not read: save it as JPEG"):
        read_photo(tmp_path / "a.heic")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    png = bytearray(encoded(".png"))
    png[16:24] = (50_000).to_bytes(4, "big") * 2
    assert refusal(tmp_path / "a.png", bytes(png)) is Reason.TOO_LARGE
    jpeg = bytearray(encoded(".jpg"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = (60_000).to_bytes(2, "big") * 2
    assert refusal(tmp_path / "a.jpg", bytes(jpeg)) is Reason.TOO_LARGE


def test_a_huge_file_is_not_read_in_full(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.truncate(photos.MAX_FILE_BYTES + 1)  # sparse
    assert refusal(path) is Reason.TOO_LARGE


def test_a_tiny_picture_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.png", encoded(".png", 20, 200)) is Reason.TOO_SMALL


def test_what_cannot_be_opened_is_unreadable(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing.jpg") is Reason.UNREADABLE
    assert refusal(tmp_path) is Reason.UNREADABLE
    os.mkfifo(tmp_path / "pipe.jpg")
    assert refusal(tmp_path / "pipe.jpg") is Reason.UNREADABLE


def test_a_name_too_long_for_the_system_is_unreadable(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("x" * 300)) is Reason.UNREADABLE


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(".jpg"))
    path.chmod(0)
    assert refusal(path) is Reason.UNREADABLE
