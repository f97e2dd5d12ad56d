"""Sessions of many connections, with values only."""

from __future__ import annotations

import pytest

from hub.registry import Asked, Lost, Opened, Registry
from protocol.codec import decode, encode
from protocol.keys import Peer
from protocol.messages import AnyMessage, FaceQuery, Goodbye, Heartbeat, Hello, Refusal, Revoke, Role, Welcome
from protocol.session import HubFacts
from tests.protocol.examples import LANDMARKS

DOOR, HALL, ADA = Peer("door", "node"), Peer("hall", "node"), Peer("ada", "admin")


def registry(max_peers: int = 8) -> Registry:
    return Registry(lambda peer: HubFacts("m", 1, peer.name), max_peers, 1.0, 3)


def hello(peer: Peer, n: int) -> list[bytes]:
    role: Role = peer.role
    return encode(Hello(session=bytes([n]) * 16, role=role, name=peer.name, versions=(1,)))


def sent(r: Registry) -> list[tuple[bytes, AnyMessage]]:
    return [(route, decode(parts)[0]) for route, parts in r.take_outgoing()]


def session(n: int) -> bytes:
    return bytes([n]) * 16


def test_a_peer_is_welcomed_over_its_own_route() -> None:
    r = registry()
    assert r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0) == [Opened(DOOR, session(1))]
    assert r.receive(b"r2", HALL, hello(HALL, 2), 0.0) == [Opened(HALL, session(2))]
    out = sent(r)
    assert [(route, type(m), getattr(m, "mode", "")) for route, m in out] == [
        (b"r1", Welcome, "door"),
        (b"r2", Welcome, "hall"),
    ]
    assert r.peers() == [(DOOR, session(1)), (HALL, session(2))]


def test_requests_come_out_with_their_peer_and_answers_find_their_way() -> None:
    r = registry()
    r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0)
    sent(r)
    query = FaceQuery(session=session(1), seq=1, track=2, landmarks=LANDMARKS, quality=0.5)
    assert r.receive(b"r1", DOOR, encode(query, [b"jpeg"]), 0.1) == [
        Asked(DOOR, session(1), query, (b"jpeg",))
    ]
    assert r.send(session(1), Revoke(session=session(1)), (), 0.2)
    assert [route for route, _ in sent(r)] == [b"r1"]
    assert not r.send(session(9), Revoke(session=session(9)), (), 0.2)


def test_a_silent_peer_is_forgotten() -> None:
    r = registry()
    r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0)
    assert r.next_deadline(0.0) == 1.0
    assert r.poll(1.0) == []
    assert [type(m) for _, m in sent(r)] == [Welcome, Heartbeat]
    assert r.poll(3.0) == [Lost(DOOR, session(1), "silent for 3 s")]
    assert len(r) == 0
    assert r.next_deadline(3.0) == float("inf")


def test_a_node_that_comes_back_over_a_new_connection_replaces_itself() -> None:
    r = registry()
    r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0)
    lost, opened = r.receive(b"r2", DOOR, hello(DOOR, 2), 1.0)
    assert isinstance(lost, Lost)
    assert lost.session == session(1)
    assert opened == Opened(DOOR, session(2))
    assert r.peers() == [(DOOR, session(2))]
    sent(r)
    assert r.receive(b"r1", DOOR, encode(Heartbeat(session=session(1))), 1.1) == []
    [(route, refusal)] = sent(r)
    assert route == b"r1"
    assert isinstance(refusal, Refusal)
    assert refusal.code == "no-session"


def test_an_admin_may_have_several_connections() -> None:
    r = registry()
    r.receive(b"r1", ADA, hello(ADA, 1), 0.0)
    r.receive(b"r2", ADA, hello(ADA, 2), 0.0)
    assert len(r) == 2


def test_a_second_hello_over_the_same_connection_replaces_the_session() -> None:
    r = registry()
    r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0)
    lost, opened = r.receive(b"r1", DOOR, hello(DOOR, 2), 1.0)
    assert isinstance(lost, Lost)
    assert lost.session == session(1)
    assert opened == Opened(DOOR, session(2))


def test_another_key_on_the_same_route_inherits_nothing() -> None:
    r = registry()
    r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0)
    heartbeat = encode(Heartbeat(session=session(1)))
    assert r.receive(b"r1", HALL, heartbeat, 1.0) == [Lost(DOOR, session(1), "the connection was taken over")]
    assert len(r) == 0


def test_connections_without_a_session_are_not_kept() -> None:
    r = registry()
    for n in range(100):
        assert r.receive(b"r%d" % n, DOOR, [b"\xc1"], 0.0) == []
        assert r.receive(b"r%d" % n, DOOR, encode(Heartbeat(session=session(1))), 0.0) == []
    assert len(r) == 0
    assert r.counters.malformed == 100
    assert r.counters.ignored == 100


def test_the_number_of_peers_is_bounded_and_a_known_node_still_gets_in() -> None:
    r = registry(max_peers=1)
    r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0)
    sent(r)
    assert r.receive(b"r2", HALL, hello(HALL, 2), 0.0) == []
    [(route, refusal)] = sent(r)
    assert route == b"r2"
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.session) == ("overloaded", session(2))
    assert refusal.retry_after_s > 0
    assert r.receive(b"r2", HALL, [b"\xc1"], 0.0) == []
    assert sent(r) == []
    assert isinstance(r.receive(b"r3", DOOR, hello(DOOR, 3), 0.0)[-1], Opened)
    assert len(r) == 1


def test_removed_keys_lose_their_sessions() -> None:
    r = registry()
    r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0)
    r.receive(b"r2", HALL, hello(HALL, 2), 0.0)
    sent(r)
    assert r.keep_only([HALL], 1.0) == [Lost(DOOR, session(1), "the key was removed")]
    [(route, goodbye)] = sent(r)
    assert route == b"r1"
    assert isinstance(goodbye, Goodbye)
    assert r.peers() == [(HALL, session(2))]


def test_an_unreachable_route_is_dropped_once() -> None:
    r = registry()
    r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0)
    assert r.drop(b"r1", "gone") == [Lost(DOOR, session(1), "gone")]
    assert r.drop(b"r1", "gone") == []


def test_everyone_hears_the_goodbye() -> None:
    r = registry()
    r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0)
    r.receive(b"r2", ADA, hello(ADA, 2), 0.0)
    sent(r)
    r.close("stopping", 1.0)
    assert [type(m) for _, m in sent(r)] == [Goodbye, Goodbye]
    assert len(r) == 0


@pytest.mark.parametrize("role", ["node", "admin"])
def test_a_peer_that_leaves_is_forgotten(role: Role) -> None:
    r = registry()
    peer = Peer("x", role)
    r.receive(b"r1", peer, hello(peer, 1), 0.0)
    assert r.receive(b"r1", peer, encode(Goodbye(session=session(1))), 1.0) == [
        Lost(peer, session(1), "said goodbye: no reason given")
    ]
    assert len(r) == 0


def test_nobody_takes_the_answers_of_another_by_naming_its_session() -> None:
    r = registry()
    r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0)
    r.receive(b"r2", HALL, hello(HALL, 1), 0.0)
    sent(r)
    assert r.send(session(1), Revoke(session=session(1)), (), 0.1)
    assert [route for route, _ in sent(r)] == [b"r1"]


def test_a_session_that_was_replaced_or_dropped_gets_no_more_answers() -> None:
    r = registry()
    r.receive(b"r1", DOOR, hello(DOOR, 1), 0.0)
    r.receive(b"r1", DOOR, hello(DOOR, 2), 0.1)
    assert not r.send(session(1), Revoke(session=session(1)), (), 0.2)
    assert r.send(session(2), Revoke(session=session(2)), (), 0.2)
    r.drop(b"r1", "gone")
    assert not r.send(session(2), Revoke(session=session(2)), (), 0.3)
