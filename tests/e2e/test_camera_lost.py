"""An IP camera whose plug is pulled out and put in again, before a real node."""

from __future__ import annotations

import pytest

from tests.e2e.rig import Rig, free_port, wait_for
from tests.e2e.rtsp_camera import RtspCamera

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
PATIENCE_S = 120.0


def test_a_camera_that_dies_is_lost_and_comes_back(rig: Rig) -> None:
    camera = RtspCamera(free_port())
    camera.start()
    try:
        # The password is one that no line of the log may hold.
        rig.start_node("--source", camera.url.replace("//", "//ada:s3cr3t@"))
        wait_for(lambda: rig.state()["camera"]["state"] == "live", PATIENCE_S, "the camera is live")
        first = rig.snapshot()[1]
        assert first.shape[:2] == (240, 320)
        camera.stop()
        wait_for(lambda: rig.state()["camera"]["state"] == "lost", PATIENCE_S, "the camera is lost")
        assert rig.node is not None
        assert rig.node.poll() is None
        before = rig.state()["picture"]["seq"]
        camera.start()
        wait_for(lambda: rig.state()["camera"]["state"] == "live", PATIENCE_S, "the camera is back")
        wait_for(lambda: rig.state()["picture"]["seq"] > before + 5, PATIENCE_S, "pictures go on")
        assert camera.players >= 2
        assert "s3cr3t" not in rig.output("node")
    finally:
        camera.stop()
