"""Files are what they should be, and reading weights runs no code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import joblib
import lz4.frame
import numpy as np
import pytest

from vision.errors import ModelError
from vision.model_store import (
    MTCNN_WEIGHTS,
    Asset,
    asset_path,
    built,
    cache_dir,
    read_joblib_arrays,
    write_atomically,
)


def test_the_weights_are_read_as_joblib_reads_them() -> None:
    for asset in MTCNN_WEIGHTS.values():
        path = asset_path(asset)
        for ours, theirs in zip(read_joblib_arrays(path), joblib.load(path), strict=True):
            np.testing.assert_array_equal(ours, theirs)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, ("touch /tmp/veilcast-was-here",))


@pytest.mark.parametrize("payload", [Evil(), [Evil()], [print]])
def test_a_weights_file_that_names_anything_else_is_refused(tmp_path: Path, payload: object) -> None:
    path = tmp_path / "evil.lz4"
    path.write_bytes(lz4.frame.compress(pickle.dumps(payload)))
    with pytest.raises(ModelError, match="not allowed"):
        read_joblib_arrays(path)
    assert not Path("/tmp/veilcast-was-here").exists()


def test_a_file_with_another_digest_is_refused() -> None:
    good = MTCNN_WEIGHTS["pnet"]
    altered = Asset(good.package, good.path, "0" * 64, good.licence)
    with pytest.raises(ModelError, match="not the file it should be"):
        asset_path(altered)


def test_a_package_that_is_absent_is_named_with_the_command_to_run() -> None:
    with pytest.raises(ModelError, match="pip install no_such_package"):
        asset_path(Asset("no_such_package", "x", "0", ""))


def test_a_file_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILCAST_CACHE", str(tmp_path / "cache"))
    calls = []

    def build() -> bytes:
        calls.append(1)
        return b"made"

    assert built("thing", build).read_bytes() == built("thing", build).read_bytes() == b"made"
    assert len(calls) == 1
    assert cache_dir().stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_made_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VEILCAST_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelError, match="VEILCAST_CACHE"):
        cache_dir()


def test_a_write_that_fails_leaves_no_half_file(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "kept").write_text("x")
    with pytest.raises(ModelError, match="cannot write"):
        write_atomically(target, b"data")
    assert (target / "kept").read_text() == "x"
