"""Fixtures of the e2e tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Keys and a state folder; whatever was started is stopped at the end."""
    tmp_path.chmod(0o700)
    made = Rig(tmp_path)
    try:
        yield made
    finally:
        made.stop()
