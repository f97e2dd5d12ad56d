"""The pipe to another detector's process, with a detector that knows its answers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import detect_peers
from benchmarks.detect_peers import Peer
from benchmarks.peers import PeerError

PACKAGE = """
import numpy as np
print("chatter on standard output")
class MTCNN:
    def detect_faces(self, image, min_face_size, threshold_onet, output_type, box_format, fit_to_image):
        print("more of it")
        if not image.any():
            return np.empty((0, 16))
        if image[0, 0, 0] == 99:
            raise RuntimeError("cannot bear this picture")
        return np.arange(16.0)[None] + (0, min_face_size, *[0] * 14)
"""


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    (tmp_path / "mtcnn.py").write_text(PACKAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(detect_peers, "SAID", tmp_path / "said")
    return Peer("mtcnn", python=Path(sys.executable))


def saved(folder: Path, blue: int, red: int) -> Path:
    path = folder / "picture.npy"
    np.save(path, np.full((4, 6, 3), (blue, 0, red), np.uint8))
    return path


def test_a_peer_answers_with_its_faces_and_its_time(peer: Peer, tmp_path: Path) -> None:
    with peer:
        found = peer.find(saved(tmp_path, 9, 9), 20, 0.8)
        assert found.rows.shape == (1, 15)
        assert found.rows[0].tolist() == [21.0, *range(2, 16)]
        assert found.seconds >= 0
        assert peer.find(saved(tmp_path, 0, 0), 20, 0.8).rows.shape == (0, 15)


def test_a_peer_sees_red_first_and_says_why_it_ended(peer: Peer, tmp_path: Path) -> None:
    with peer:
        assert len(peer.find(saved(tmp_path, 99, 1), 20, 0.8).rows) == 1
        with pytest.raises(PeerError, match="cannot bear this picture"):
            peer.find(saved(tmp_path, 1, 99), 20, 0.8)
