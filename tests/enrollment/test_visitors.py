"""`veilcast-enroll visitor ...` against a hub on loopback: words, JSON, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from enrollment.errors import EXIT_REFUSED, EXIT_USAGE
from protocol.messages import (
    AnyMessage,
    EnrolVisitor,
    People,
    Person,
    Refusal,
    StartVisitors,
    StopVisitors,
    Visitor,
    Visitors,
)
from tests.enrollment.fakes import NOW, FakeHub, HubInMemory, consent
from tests.enrollment.test_cli import hub, keys, run  # noqa: F401 - fixtures

Run = Callable[..., Result]
WALKER = Visitor(id=1, looks=5, quality=0.8, first_seen_s=75.0, last_seen_s=4.0, ready=True)
GLIMPSE = Visitor(id=2, looks=1, quality=0.5, first_seen_s=3.0, last_seen_s=3.0, ready=False)


class HubWithVisitors(HubInMemory):
    """Groups when told so; two people have walked past."""

    def __init__(self) -> None:
        super().__init__()
        self.camera = ""
        self.asked: list[AnyMessage] = []

    def do(self, request: AnyMessage) -> AnyMessage:
        self.asked.append(request)
        common: dict[str, Any] = {"session": request.session, "seq": getattr(request, "seq", 0)}
        match request:
            case EnrolVisitor(visitor=1):
                person = Person(
                    identity="p", name=request.name, added_at=NOW, consented=True,
                    consents=(consent(request.consent_until, request.cameras),), templates=(),
                )  # fmt: skip
                return People(people=(person,), gallery_version=1, **common)
            case EnrolVisitor():
                return Refusal(code="quality", text="visitor 2 has 1 good look of 3 needed", **common)
            case StartVisitors():
                self.camera = request.camera
            case StopVisitors():
                self.camera = ""
        people = (WALKER, GLIMPSE) if self.camera else ()
        return Visitors(camera=self.camera, left_s=299.6 if self.camera else 0.0, visitors=people, **common)


@pytest.fixture
def visitors(hub: FakeHub) -> HubWithVisitors:  # noqa: F811 - the fixture
    hub.hub = HubWithVisitors()
    return hub.hub


@pytest.mark.usefixtures("visitors")
def test_start_list_stop(run: Run) -> None:  # noqa: F811 - the fixture
    assert run("visitor", "list").stdout == "No visitors are grouped, and none are kept.\n"
    started = run("visitor", "start", "--camera", "door")
    assert "Visitors at door are grouped for 5 min 0 s more; that camera shows nobody" in started.stdout
    lines = run("visitor", "list").stdout.splitlines()
    assert lines[2].split() == ["1", "1", "min", "15", "s", "ago", "4", "s", "ago", "5", "0.80", "yes"]
    assert "no: more looks from the front are needed" in lines[3]
    document = json.loads(run("visitor", "list", "--json").stdout)
    assert document["camera"] == "door"
    assert [v["ready"] for v in document["visitors"]] == [True, False]
    assert run("visitor", "stop").stdout == "No visitors are grouped, and none are kept.\n"


def test_minutes_and_consent_reach_the_hub(run: Run, visitors: HubWithVisitors) -> None:  # noqa: F811
    run("visitor", "start", "--camera", "door", "--minutes", "2")
    done = run("visitor", "enrol", "1", "Ann  Lee", "--cameras", "door", "--consent-until", "2099-01-01")
    assert done.stdout == "Ann Lee: enrolled; consent recorded, until 2099-01-01 23:59, on door\n"
    start, enrol = visitors.asked
    assert isinstance(start, StartVisitors)
    assert start.duration_s == 120
    assert isinstance(enrol, EnrolVisitor)
    assert (enrol.visitor, enrol.name, enrol.cameras) == (1, "Ann Lee", ("door",))


@pytest.mark.usefixtures("visitors")
def test_what_the_hub_refuses_is_one_line(run: Run) -> None:  # noqa: F811 - the fixture
    refused = run("visitor", "enrol", "2", "Ann")
    assert refused.exit_code == EXIT_REFUSED
    assert "visitor 2 has 1 good look of 3 needed" in refused.stderr


@pytest.mark.usefixtures("visitors")
@pytest.mark.parametrize("minutes", ["0", "31", "nan"])
def test_the_time_has_a_limit(run: Run, minutes: str) -> None:  # noqa: F811 - the fixture
    assert run("visitor", "start", "--camera", "door", "--minutes", minutes).exit_code == EXIT_USAGE


@pytest.mark.usefixtures("visitors")
def test_a_camera_is_a_nodes_name(run: Run, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    refused = run("visitor", "start", "--camera", "../door")
    assert refused.exit_code == EXIT_USAGE
    assert "is no camera name" in refused.stderr
