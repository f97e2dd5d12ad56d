"""The admin connection against a hub on loopback: real sockets, real CURVE, real sessions."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from enrollment.client import HubClient
from enrollment.connection import Connection, TimeLimits
from enrollment.errors import HubRefusalError, HubUnreachableError, InputError, KeyRefusedError
from enrollment.examine import AcceptedPhoto
from enrollment.inputs import ConsentTerms
from protocol.keys import KeyPair, create_keypair
from protocol.messages import Photo, Refusal
from tests.enrollment.fakes import FakeHub, HubInMemory

POINT = (100.0, 100.0)
PHOTO = AcceptedPhoto(Photo(landmarks=(POINT,) * 5, quality=0.9, source="a.jpg"), b"jpeg")
TERMS = ConsentTerms(until=None, cameras=("door",))
SHORT = TimeLimits(connect_s=0.4, answer_s=0.4)


@pytest.fixture
def hub_keys(tmp_path: Path) -> KeyPair:
    return create_keypair(tmp_path / "hub.key", "hub", "hub")


@pytest.fixture
def admin_keys(tmp_path: Path) -> KeyPair:
    return create_keypair(tmp_path / "admin.key", "admin", "admin")


@pytest.fixture
def hub(hub_keys: KeyPair, admin_keys: KeyPair) -> Iterator[FakeHub]:
    with FakeHub(hub_keys, [admin_keys]) as fake:
        yield fake


@pytest.fixture
def client(hub: FakeHub, hub_keys: KeyPair, admin_keys: KeyPair) -> HubClient:
    return HubClient(Connection(hub.address, admin_keys, hub_keys.public))


def connect(address: str, keys: KeyPair, hub_key: bytes, limits: TimeLimits = SHORT) -> None:
    with HubClient(Connection(address, keys, hub_key, limits)):
        raise AssertionError("this must not connect")


def test_every_request_is_answered(hub: FakeHub, client: HubClient) -> None:
    with client as admin:
        assert admin.add("Ann Lee", [PHOTO, PHOTO], TERMS).name == "Ann Lee"
        assert len(admin.show("Ann Lee").templates) == 2
        assert admin.grant("Ann Lee", ConsentTerms(until=2e9)).consents[0].until == 2e9
        assert not admin.withdraw("Ann Lee").consented
        admin.remove("Ann Lee")
        assert list(admin.people()) == []
    assert hub.payloads[0] == (b"jpeg", b"jpeg")


def test_all_pages_of_the_list_are_read(client: HubClient) -> None:
    with client as admin:
        for name in "EDCBA":
            admin.add(name, [PHOTO], TERMS)
        assert [p.name for p in admin.people()] == list("ABCDE")


def test_a_refusal_keeps_the_session(client: HubClient) -> None:
    with client as admin:
        with pytest.raises(HubRefusalError, match="nobody of this name") as caught:
            admin.show("Nobody")
        assert caught.value.refusal_code == "not-found"
        assert list(admin.people()) == []


def test_a_hub_that_forgot_the_session_is_asked_again(hub: FakeHub, client: HubClient) -> None:
    with client as admin:
        admin.add("Ann", [PHOTO], TERMS)
        hub.forget_next_requests = 1
        assert len(admin.add("Ann", [PHOTO], TERMS).templates) == 2
    assert len(hub.hub.adds) == 2  # once each


def test_a_hub_that_always_forgets_is_given_up(hub: FakeHub, client: HubClient) -> None:
    with client as admin:
        hub.forget_next_requests = 10
        with pytest.raises(HubUnreachableError, match="forgets its sessions"):
            admin.show("Ann")


def test_a_hub_that_does_not_answer_leaves_no_doubt_about_doubt(
    hub: FakeHub, hub_keys: KeyPair, admin_keys: KeyPair
) -> None:
    with HubClient(Connection(hub.address, admin_keys, hub_keys.public, SHORT)) as admin:
        hub.mute = True
        with pytest.raises(HubUnreachableError, match="whether it was done"):
            admin.add("Ann", [PHOTO], TERMS)


def test_a_hub_that_is_gone_is_noticed_at_the_next_request(hub_keys: KeyPair, admin_keys: KeyPair) -> None:
    with FakeHub(hub_keys, [admin_keys]) as hub:
        admin = HubClient(Connection(hub.address, admin_keys, hub_keys.public, SHORT))
        admin.__enter__()
    with pytest.raises(HubUnreachableError):
        list(admin.people())
    admin.__exit__(None, None, None)


def test_nobody_listens(hub_keys: KeyPair, admin_keys: KeyPair) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(HubUnreachableError, match=r"no hub answers at tcp.*is it running"):
            connect(address, admin_keys, hub_keys.public)


def test_something_else_listens(hub_keys: KeyPair, admin_keys: KeyPair) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(HubUnreachableError, match="does not speak as a hub"):
            connect(address, admin_keys, hub_keys.public)


def test_a_zeromq_without_encryption_is_not_talked_to(hub_keys: KeyPair, admin_keys: KeyPair) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    try:
        address = f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}"
        with pytest.raises(KeyRefusedError, match="handshake"):
            connect(address, admin_keys, hub_keys.public, TimeLimits(connect_s=3))
        assert not router.poll(0)
    finally:
        context.destroy(linger=0)


def test_the_wrong_hub_key(hub: FakeHub, admin_keys: KeyPair) -> None:
    with pytest.raises(KeyRefusedError, match="compare --hub-key"):
        connect(hub.address, admin_keys, admin_keys.public, TimeLimits(connect_s=3))


def test_an_admin_key_that_the_hub_does_not_know(hub: FakeHub, hub_keys: KeyPair, tmp_path: Path) -> None:
    stranger = create_keypair(tmp_path / "stranger.key", "stranger", "admin")
    with pytest.raises(KeyRefusedError, match="does not accept this admin key"):
        connect(hub.address, stranger, hub_keys.public, TimeLimits(connect_s=3))


def test_a_key_under_another_name(hub: FakeHub, hub_keys: KeyPair, admin_keys: KeyPair) -> None:
    hub.admin_name = "ann"
    with pytest.raises(KeyRefusedError, match="authorized as admin 'ann'"):
        connect(hub.address, admin_keys, hub_keys.public)


def test_a_hub_of_another_version(hub: FakeHub, hub_keys: KeyPair, admin_keys: KeyPair) -> None:
    hub.speaks_other_version = True
    with pytest.raises(HubUnreachableError, match="this hub speaks 9, you 1"):
        connect(hub.address, admin_keys, hub_keys.public)


@pytest.mark.parametrize(
    "address", ["", "hub", "tcp://hub", "ftp://hub:1", "tcp://127.0.0.1:99999", "tcp://:1"]
)
def test_an_address_that_is_none(address: str, hub_keys: KeyPair, admin_keys: KeyPair) -> None:
    with pytest.raises(InputError, match="tcp://HOST:PORT"):
        connect(address, admin_keys, hub_keys.public)


def test_a_duplicate_is_the_hubs_to_find(hub_keys: KeyPair, admin_keys: KeyPair) -> None:
    refusal = Refusal(session=bytes(16), code="duplicate", text="this face is enrolled as Bo")
    memory = HubInMemory(refuse={"Ann": refusal})
    with (
        FakeHub(hub_keys, [admin_keys], memory) as hub,
        HubClient(Connection(hub.address, admin_keys, hub_keys.public)) as admin,
        pytest.raises(HubRefusalError, match="enrolled as Bo"),
    ):
        admin.add("Ann", [PHOTO], TERMS)
