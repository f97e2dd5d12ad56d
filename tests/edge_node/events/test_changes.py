"""Who is here: shown people, strangers who stay, camera and hub; and what a notice may hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from edge_node.events.changes import Changes, Patience
from edge_node.events.discovery import Topics, announcement
from edge_node.events.notices import Change, Kind, Notice, Present
from edge_node.events.outbox import Outbox
from edge_node.frames import MaskedFrame, ReleaseReason
from tests.edge_node.stream.frames import masked

SHOWN, GONE = Kind.PERSON_SHOWN, Kind.PERSON_GONE
PATIENCE = Patience(stranger_after_s=3.0, gone_after_s=5.0)


def changes() -> Changes:
    return Changes(PATIENCE, has_hub=True)


def frame(*people: str, veiled: int = 0, reason: ReleaseReason = ReleaseReason.COVERED) -> MaskedFrame:
    return masked(0, names=people, veiled=veiled, reason=reason)


def kinds(found: list[Change]) -> list[tuple[Kind, str]]:
    return [(c.kind, c.person) for c in found]


def test_a_person_is_told_once_and_leaves_once() -> None:
    c = changes()
    assert kinds(c.frame(frame("ada"), 0.0)) == [(SHOWN, "id-ada")]
    assert c.frame(frame("ada"), 1.0) == []
    assert c.frame(frame(), 5.5) == []
    assert c.frame(frame("ada"), 5.75) == []
    assert c.present.people == 1
    assert c.tick(10.5) == []
    assert kinds(c.tick(10.75)) == [(GONE, "id-ada")]
    assert c.present.people == 0


def test_a_new_track_of_the_same_person_is_no_news() -> None:
    c = changes()
    c.frame(frame("ada", "grace"), 0.0)
    assert c.frame(frame("grace", "ada"), 1.0) == []


def test_a_stranger_must_stay_to_be_told_of() -> None:
    c = changes()
    assert c.frame(frame(veiled=1), 0.0) == []
    assert c.frame(frame(), 0.75) == []
    assert c.frame(frame(), 1.0) == []
    assert c.frame(frame(veiled=2), 2.0) == []  # another one: the first was gone for too long
    found = []
    for quarter in range(9, 30):
        found += [(quarter / 4, change.kind) for change in c.frame(frame(veiled=1), quarter / 4)]
    assert found == [(5.0, Kind.STRANGER_PRESENT)]
    assert c.present.stranger
    assert c.frame(frame(), 12.0) == []
    assert kinds(c.frame(frame(), 12.25)) == [(Kind.STRANGER_GONE, "")]


def test_a_frame_veiled_in_full_tells_nothing_of_who_is_there() -> None:
    c = changes()
    for second in range(10):
        late = frame("ada", veiled=3, reason=ReleaseReason.LATE)
        assert c.frame(late, float(second)) == []
    assert c.present == Present()


def test_a_person_without_an_id_is_not_told_of() -> None:
    c = changes()
    shown = masked(0, names=("ada",), has_ids=False)
    assert c.frame(shown, 0.0) == []


def test_the_camera_is_news_when_it_goes_and_when_it_is_back() -> None:
    c = changes()
    steps = [c.camera(up) for up in (False, True, True, False, False, True)]
    assert [kinds(s) for s in steps] == [
        [], [], [], [(Kind.CAMERA_LOST, "")], [], [(Kind.CAMERA_BACK, "")]
    ]  # fmt: skip


def test_the_hub_likewise_where_there_is_one() -> None:
    c = changes()
    steps = [c.hub(up) for up in (False, True, False, True)]
    assert [kinds(s) for s in steps] == [[], [], [(Kind.HUB_LOST, "")], [(Kind.HUB_BACK, "")]]
    alone = Changes(PATIENCE, has_hub=False)
    assert [alone.hub(up) for up in (True, False)] == [[], []]


def notice(number: int = 1, name: str = "Ada") -> Notice:
    change = Change(Kind.PERSON_SHOWN, "id-ada", name)
    return Notice(f"boot-{number}", "door", datetime(2026, 5, 1, 12, tzinfo=UTC), change, Present(people=1))


def test_a_notice_holds_an_id_and_a_name_only_where_asked_for() -> None:
    assert json.loads(notice().as_json(with_name=False)) == {
        "id": "boot-1", "node": "door", "kind": "person-shown", "at": "2026-05-01T12:00:00.000Z",
        "person": "id-ada", "people": 1, "stranger": False, "camera": False, "hub": False,
    }  # fmt: skip
    assert json.loads(notice().as_json(with_name=True))["name"] == "Ada"


async def test_a_full_outbox_keeps_the_newest() -> None:
    box = Outbox(capacity=3)
    notices = [notice(n) for n in range(5)]
    for one in notices:
        box.put(one)
    assert (len(box), box.dropped) == (3, 2)
    first = await box.first()
    assert first is notices[2]
    box.put(notices[0])  # pushes out the one that is being sent
    box.done(first)
    assert (box.sent, box.dropped) == (1, 3)
    assert await box.first() is notices[3]


def test_home_assistant_is_told_of_each_part_with_its_topics() -> None:
    topics = Topics("veilcast", "front.door")
    body = json.loads(announcement(topics, "1.2"))
    assert topics.discovery("homeassistant") == "homeassistant/device/veilcast_front_door/config"
    assert body["device"]["identifiers"] == ["veilcast_front_door"]
    assert body["origin"]["name"] == "veilcast"
    assert body["availability_topic"] == "veilcast/front.door/availability"
    parts = body["components"]
    assert {name: p["platform"] for name, p in parts.items()} == {
        "camera": "binary_sensor", "hub": "binary_sensor", "stranger": "binary_sensor",
        "people": "sensor", "notice": "event",
    }  # fmt: skip
    assert parts["notice"]["event_types"] == [kind.value for kind in Kind]
    assert len({p["unique_id"] for p in parts.values()}) == 5
    assert parts["stranger"]["value_template"] == "{{ 'ON' if value_json.stranger else 'OFF' }}"
