"""Some of the real faults, each with hub, node and viewer as processes: nobody leaks, all is well again.

The benchmark plays all of them, and more exactly: `python -m tests.faults.real`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.real import play
from tests.faults.stage import GIVE_UP_S, Stage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    folder.chmod(0o700)
    with Stage(folder) as made:
        yield made


@pytest.mark.parametrize("name", ["hub-stopped", "out-of-files", "node-stopped", "disk-full"])
def test_nobody_leaks_and_the_node_recovers_by_itself(stage: Stage, name: str) -> None:
    outcome = play(stage, name)
    assert outcome.leaks == 0, outcome.note
    assert outcome.face_frames > 50
    assert outcome.recovered_in_s is not None
    assert outcome.recovered_in_s < GIVE_UP_S, "not without a hand"
