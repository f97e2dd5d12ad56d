"""Conversations between the two state machines, with the time given by the test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from protocol.codec import decode, encode
from protocol.errors import LocalProtocolError
from protocol.messages import (
    AnyMessage,
    FaceDecision,
    FaceQuery,
    Goodbye,
    Heartbeat,
    Hello,
    ListPeople,
    People,
    Refusal,
    Revoke,
    Role,
    Welcome,
)
from protocol.session import (
    ClientSession,
    HubFacts,
    HubSession,
    MessageReceived,
    PeerLost,
    Reconnect,
    SessionOpened,
)
from tests.protocol.examples import LANDMARKS

FACTS = HubFacts(model_id="dlib-resnet", gallery_version=3, mode="reveal-consented")


def counting_bytes() -> Iterator[bytes]:
    n = 0
    while True:
        n += 1
        yield n.to_bytes(16, "big")


def client(role: Role = "node", name: str = "door", versions: tuple[int, ...] = (1,)) -> ClientSession:
    ids = counting_bytes()
    return ClientSession(role, name, random_bytes=lambda n: next(ids), roll=lambda: 1.0, versions=versions)


def hub(role: Role = "node", name: str = "door") -> HubSession:
    return HubSession(role, name, lambda: FACTS)


def sent(side: ClientSession | HubSession) -> list[AnyMessage]:
    return [decode(parts)[0] for parts in side.take_outgoing()]


def opened(now: float = 0.0, role: Role = "node") -> tuple[ClientSession, HubSession]:
    """A client and a hub that have agreed."""
    node, peer = client(role), hub(role)
    node.poll(now)
    for parts in node.take_outgoing():
        peer.receive(parts, now)
    for parts in peer.take_outgoing():
        node.receive(parts, now)
    assert node.is_open
    assert peer.is_open
    return node, peer


def query(node: ClientSession, seq: int | None = None) -> FaceQuery:
    return FaceQuery(
        session=node.session_id,
        seq=node.next_seq() if seq is None else seq,
        track=5,
        landmarks=LANDMARKS,
        quality=0.5,
    )


# --- handshake ----------------------------------------------------------------------------------


def test_hello_is_said_at_once_and_welcomed() -> None:
    node, peer = client(), hub()
    assert node.next_deadline(5.0) == 5.0
    assert node.poll(5.0) == []
    [hello] = node.take_outgoing()
    [opening] = peer.receive(hello, 5.0)
    assert isinstance(opening, SessionOpened)
    [welcome] = peer.take_outgoing()
    [event] = node.receive(welcome, 5.1)
    assert event == opening
    assert event.welcome.model_id == "dlib-resnet"
    assert node.session_id == peer.session_id == event.welcome.session


def test_the_best_common_version_is_taken() -> None:
    peer = hub()
    hello = Hello(session=bytes(16), role="node", name="door", versions=(9, 1))
    [event] = peer.receive(encode(hello), 0.0)
    assert isinstance(event, SessionOpened)
    assert event.welcome.version == 1


def test_a_peer_of_another_version_is_told_so_and_keeps_trying() -> None:
    node, peer = client(versions=(9,)), hub()
    node.poll(0.0)
    assert peer.receive(node.take_outgoing()[0], 0.0) == []
    assert not peer.is_open
    events = node.receive(peer.take_outgoing()[0], 0.0)
    refusal, lost, again = events
    assert isinstance(refusal, MessageReceived)
    assert isinstance(refusal.message, Refusal)
    assert refusal.message.code == "version"
    assert isinstance(lost, PeerLost)
    assert "speaks protocol 1, you speak 9" in lost.reason
    assert again == Reconnect(0.25)


def test_a_version_that_was_not_offered_is_not_taken() -> None:
    node = client()
    node.poll(0.0)
    [hello] = sent(node)
    welcome = Welcome(
        session=hello.session,
        version=2,
        heartbeat_s=1.0,
        liveness=3,
        model_id="m",
        gallery_version=0,
    )
    lost, _ = node.receive(encode(welcome), 0.0)
    assert lost == PeerLost("the hub chose version 2, never offered")
    assert not node.is_open


@pytest.mark.parametrize(("role", "name"), [("node", "hall"), ("admin", "door")])
def test_hello_must_fit_the_key(role: Role, name: str) -> None:
    peer = hub("node", "door")
    hello = Hello(session=bytes(16), role=role, name=name, versions=(1,))
    assert peer.receive(encode(hello), 0.0) == []
    assert not peer.is_open
    [refusal] = sent(peer)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "not-allowed"
    assert peer.counters.not_allowed == 1


def test_an_attempt_without_answer_is_given_up_and_repeated_more_slowly() -> None:
    node = client()
    now, pauses, ids = 0.0, [], set()
    for _ in range(7):
        assert node.poll(now) == []
        [hello] = sent(node)
        ids.add(hello.session)
        assert node.poll(now + 1.9) == []
        now = node.next_deadline(now)
        lost, again = node.poll(now)
        assert isinstance(lost, PeerLost)
        assert isinstance(again, Reconnect)
        pauses.append(again.at - now)
        now = again.at
    assert pauses == pytest.approx([0.25, 0.5, 0.75, 0.75, 0.75, 0.75, 0.75])
    assert len(ids) == 7, "each attempt has a session id of its own"


def test_however_long_the_hub_was_away_an_attempt_begins_within_three_seconds() -> None:
    node = client()
    now, greeted_at = 0.0, []
    while now < 600.0:
        node.poll(now)
        greeted_at += [now for message in sent(node) if isinstance(message, Hello)]
        now = node.next_deadline(now)
    assert max(b - a for a, b in pairwise(greeted_at)) < 3.0


def test_a_success_resets_the_pauses() -> None:
    node = client()
    node.poll(0.0)
    node.poll(3.0)
    node.poll(4.0)
    peer = hub()
    for parts in node.take_outgoing():
        peer.receive(parts, 4.0)
    node.receive(peer.take_outgoing()[0], 4.0)
    assert node.is_open
    assert node.lost_connection("cut", 5.0) == [PeerLost("cut"), Reconnect(5.25)]


def test_a_connection_that_cannot_be_opened_counts_as_a_failed_attempt() -> None:
    node = client()
    [lost, again] = node.lost_connection("no descriptors", 1.0)
    assert lost == PeerLost("no descriptors")
    assert isinstance(again, Reconnect)
    assert again.at > 1.0
    assert node.next_deadline(1.0) == again.at
    node.close("bye", 2.0)
    assert node.lost_connection("too late", 3.0) == []


def test_a_refusal_can_ask_for_a_longer_pause() -> None:
    node = client()
    node.poll(0.0)
    [hello] = sent(node)
    busy = Refusal(session=hello.session, code="overloaded", text="full", retry_after_s=20.0)
    assert node.receive(encode(busy), 0.0)[-1] == Reconnect(20.0)


# --- life ---------------------------------------------------------------------------------------


def test_heartbeats_are_sent_only_when_nothing_else_was() -> None:
    node, _ = opened()
    assert node.poll(0.5) == []
    assert sent(node) == []
    node.send(query(node), [b"jpeg"], 0.8)
    node.poll(1.0)
    assert [type(m) for m in sent(node)] == [FaceQuery]
    node.poll(1.8)
    assert [type(m) for m in sent(node)] == [Heartbeat]


def test_three_silent_heartbeats_mean_that_the_peer_is_gone() -> None:
    node, peer = opened()
    assert node.poll(2.99) == []
    [lost, again] = node.poll(3.0)
    assert lost == PeerLost("the hub was silent for 3 s")
    assert again == Reconnect(3.25)
    assert not node.is_open
    assert peer.poll(2.99) == []
    assert peer.poll(3.0) == [PeerLost("silent for 3 s")]
    assert not peer.is_open
    assert peer.next_deadline(3.0) == float("inf")


def test_any_message_proves_life() -> None:
    node, peer = opened()
    node.send(query(node), [b"jpeg"], 2.5)
    for parts in node.take_outgoing():
        assert [type(e) for e in peer.receive(parts, 2.5)] == [MessageReceived]
    peer.send(Revoke(session=peer.session_id), [], 2.6)
    for parts in peer.take_outgoing():
        node.receive(parts, 2.6)
    assert peer.poll(5.0) == []
    assert node.poll(5.0) == []


def test_heartbeats_keep_a_session_for_hours() -> None:
    node, peer = opened()
    now = 0.0
    while now < 3_600.0:
        now = min(node.next_deadline(now), peer.next_deadline(now))
        assert node.poll(now) == []
        assert peer.poll(now) == []
        for parts in node.take_outgoing():
            assert peer.receive(parts, now) == []
        for parts in peer.take_outgoing():
            assert node.receive(parts, now) == []
    assert node.is_open
    assert peer.is_open


def test_the_hub_sets_the_rhythm() -> None:
    node = client()
    peer = HubSession("node", "door", lambda: FACTS, heartbeat_s=5.0, liveness=2)
    node.poll(0.0)
    peer.receive(node.take_outgoing()[0], 0.0)
    node.receive(peer.take_outgoing()[0], 0.0)
    assert node.poll(9.9) == []
    assert len(sent(node)) == 1
    assert node.poll(10.0)[0] == PeerLost("the hub was silent for 10 s")


def test_a_restarted_hub_says_that_it_knows_nothing_and_the_client_starts_over() -> None:
    node, _ = opened()
    node.poll(1.0)
    fresh = hub()
    assert fresh.receive(node.take_outgoing()[0], 1.0) == []
    lost, again = node.receive(fresh.take_outgoing()[0], 1.0)
    assert isinstance(lost, PeerLost)
    assert isinstance(again, Reconnect)
    node.poll(again.at)
    [opening] = fresh.receive(node.take_outgoing()[0], again.at)
    assert isinstance(opening, SessionOpened)


def test_a_restarted_node_replaces_its_session() -> None:
    _, peer = opened()
    hello = Hello(session=b"x" * 16, role="node", name="door", versions=(1,))
    lost, opening = peer.receive(encode(hello), 1.0)
    assert lost == PeerLost("opened a new session")
    assert isinstance(opening, SessionOpened)
    assert peer.session_id == b"x" * 16


def test_hello_twice_opens_once() -> None:
    node, peer = client(), hub()
    node.poll(0.0)
    [hello] = node.take_outgoing()
    peer.receive(hello, 0.0)
    assert peer.receive(hello, 0.1) == []
    assert [type(m) for m in sent(peer)] == [Welcome]


def test_goodbye_ends_the_session_on_the_other_side() -> None:
    node, peer = opened()
    node.close("stopping", 1.0)
    assert peer.receive(node.take_outgoing()[0], 1.0) == [PeerLost("said goodbye: stopping")]
    assert node.next_deadline(1.0) == float("inf")
    assert node.poll(100.0) == []
    node, peer = opened()
    peer.close("stopping", 1.0)
    assert not peer.is_open
    lost, _ = node.receive(peer.take_outgoing()[0], 1.0)
    assert lost == PeerLost("the hub said goodbye: stopping")


# --- what arrives -------------------------------------------------------------------------------


def test_messages_of_another_session_are_ignored_and_counted() -> None:
    node, peer = opened()
    decision = FaceDecision(session=b"y" * 16, seq=1, track=5, reveal=True, lease_s=3.0)
    assert node.receive(encode(decision), 0.1) == []
    assert node.counters.ignored == 1
    heartbeat = Heartbeat(session=b"y" * 16)
    assert peer.receive(encode(heartbeat), 0.1) == []
    assert peer.counters.ignored == 1
    [refusal] = sent(peer)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.session) == ("no-session", b"y" * 16)
    assert node.receive(encode(refusal), 0.1) == [], "a refusal for another session ends nothing"
    assert node.is_open
    assert peer.receive(encode(Goodbye(session=b"y" * 16)), 0.1) == []
    assert peer.is_open


def test_foreign_messages_do_not_prove_life() -> None:
    node, peer = opened()
    node.receive(encode(Heartbeat(session=b"y" * 16)), 2.9)
    node.receive([b"\xc1"], 2.9)
    assert isinstance(node.poll(3.0)[0], PeerLost)
    peer.receive(encode(Heartbeat(session=b"y" * 16)), 2.9)
    peer.receive([b"\xc1"], 2.9)
    assert peer.poll(3.0) == [PeerLost("silent for 3 s")]


def test_bytes_that_are_no_message_are_counted_and_answered_in_a_session_only() -> None:
    node, peer = opened()
    assert node.receive([b"\xc1"], 0.1) == []
    assert node.counters.malformed == 1
    assert peer.receive([b"\xc1"], 0.1) == []
    [refusal] = sent(peer)
    assert isinstance(refusal, Refusal)
    assert refusal.code == "malformed"
    stranger = hub()
    assert stranger.receive([b"\xc1"], 0.1) == []
    assert sent(stranger) == []
    assert stranger.counters.malformed == 1


def test_a_request_larger_than_any_honest_one_is_refused() -> None:
    _, peer = opened()
    peer.receive([b"\x80" * 300_000], 0.1)
    assert peer.counters.malformed == 1


def test_a_node_may_not_send_what_admins_send() -> None:
    node, peer = opened()
    asked = ListPeople(session=node.session_id, seq=1)
    assert peer.receive(encode(asked), 0.1) == []
    [refusal] = sent(peer)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.seq) == ("not-allowed", 1)
    assert peer.counters.not_allowed == 1
    with pytest.raises(LocalProtocolError, match="node"):
        node.send(asked, [], 0.1)


def test_an_admin_may_not_ask_about_faces_and_nobody_speaks_as_the_hub() -> None:
    admin, peer = opened(role="admin")
    face = FaceQuery(session=admin.session_id, seq=1, track=5, landmarks=LANDMARKS, quality=0.5)
    for message, payloads in [(face, [b"jpeg"]), (Revoke(session=admin.session_id), [])]:
        assert peer.receive(encode(message, payloads), 0.1) == []
    assert peer.counters.not_allowed == 2


def test_a_client_takes_from_the_hub_only_what_hubs_send_to_its_role() -> None:
    node, _ = opened()
    people = People(session=node.session_id, seq=1, people=(), gallery_version=1)
    assert node.receive(encode(people), 0.1) == []
    assert node.receive(encode(query(node), [b"jpeg"]), 0.1) == []
    assert node.counters.not_allowed == 2


def test_a_number_used_before_is_refused() -> None:
    node, peer = opened()
    first = encode(query(node), [b"jpeg"])
    assert len(peer.receive(first, 0.1)) == 1
    assert peer.receive(first, 0.2) == []
    [refusal] = sent(peer)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.seq) == ("invalid", 1)


def test_numbers_go_on_over_sessions() -> None:
    node, _ = opened()
    assert [node.next_seq(), node.next_seq()] == [1, 2]
    node.lost_connection("cut", 1.0)
    node.poll(2.0)
    assert node.next_seq() == 3


def test_before_the_welcome_nothing_else_is_taken() -> None:
    node = client()
    node.poll(0.0)
    [hello] = sent(node)
    decision = FaceDecision(session=hello.session, seq=1, track=5, reveal=True, lease_s=3.0)
    assert node.receive(encode(decision), 0.1) == []
    assert node.counters.ignored == 1


# --- what is sent -------------------------------------------------------------------------------


def test_nothing_is_sent_without_a_session() -> None:
    node, peer = client(), hub()
    with pytest.raises(LocalProtocolError, match="no session"):
        node.send(Heartbeat(session=bytes(16)), [], 0.0)
    with pytest.raises(LocalProtocolError, match="no session"):
        peer.send(Heartbeat(session=bytes(16)), [], 0.0)
    node, peer = opened()
    for side in (node, peer):
        with pytest.raises(LocalProtocolError, match="another session"):
            side.send(Heartbeat(session=b"y" * 16), [], 0.0)


def test_the_hub_sends_each_role_its_own_messages() -> None:
    _, peer = opened()
    people = People(session=peer.session_id, seq=1, people=(), gallery_version=1)
    with pytest.raises(LocalProtocolError):
        peer.send(people, [], 0.1)


def test_messages_nobody_takes_are_bounded() -> None:
    node, _ = opened()
    for _ in range(300):
        node.send(query(node), [b"jpeg"], 0.1)
    waiting = sent(node)
    assert len(waiting) == 256
    assert isinstance(waiting[-1], FaceQuery)
    assert waiting[-1].seq == 300
    assert node.counters.dropped == 44


def test_a_loss_throws_away_what_was_not_sent() -> None:
    node, _ = opened()
    node.send(query(node), [b"jpeg"], 0.1)
    node.lost_connection("cut", 0.2)
    assert node.take_outgoing() == []
