"""The fault proxy, with plain sockets: each fault bites, and is gone when switched off."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import NO_FAULT, Fault, FaultProxy

LIMIT_S = 5.0
"""Only a hang takes this long."""
QUIET_S = 0.05
"""Nothing that passes takes this long on loopback; too short a wait could only hide a failure."""


class Echo:
    """A server that sends back what it gets, on any number of connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    @staticmethod
    def _echo(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    connection.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    echo = Echo()
    with FaultProxy(echo.address) as made:
        yield made
    echo.close()


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=LIMIT_S)


def receive(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := connection.recv(count - len(data))):
        data += piece
    return data


def is_silent(connection: socket.socket) -> bool:
    connection.settimeout(QUIET_S)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(LIMIT_S)
    return False


def is_passed(proxy: FaultProxy) -> bool:
    """Whether a fresh connection works."""
    with connect(proxy) as connection:
        connection.sendall(b"hello")
        return receive(connection, 5) == b"hello"


def test_a_whole_link_changes_nothing(proxy: FaultProxy) -> None:
    message = bytes(range(256)) * 500
    with connect(proxy) as connection:
        sender = threading.Thread(target=connection.sendall, args=(message,))
        sender.start()
        assert receive(connection, len(message)) == message
        sender.join()
    assert proxy.accepted == 1


def test_a_delayed_link_is_late_and_in_order(proxy: FaultProxy) -> None:
    proxy.switch(Fault(delay_s=0.1))
    with connect(proxy) as connection:
        begun = time.monotonic()
        connection.sendall(b"one")
        connection.sendall(b"two")
        assert receive(connection, 6) == b"onetwo"
        assert time.monotonic() - begun >= 0.2, "there and back"


def test_what_is_on_its_way_arrives_when_the_delay_ends(proxy: FaultProxy) -> None:
    proxy.switch(Fault(delay_s=3_600.0))
    with connect(proxy) as connection:
        connection.sendall(b"soon")
        assert is_silent(connection)
        proxy.switch()
        assert receive(connection, 4) == b"soon"


def test_a_cut_ends_connections_and_refuses_new_ones_until_it_is_mended(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        connection.sendall(b"a")
        assert receive(connection, 1) == b"a"
        proxy.switch(Fault(is_cut=True))
        with contextlib.suppress(ConnectionError):  # a reset says the same
            assert connection.recv(1) == b""
    with pytest.raises(ConnectionError):
        connect(proxy)
    port = proxy.port
    proxy.switch()
    assert proxy.port == port
    assert is_passed(proxy)


def test_a_throttled_link_passes_everything_in_time(proxy: FaultProxy) -> None:
    proxy.switch(Fault(bytes_per_s=20_000))
    with connect(proxy) as connection:
        begun = time.monotonic()
        connection.sendall(b"x" * 4_000)
        assert receive(connection, 4_000) == b"x" * 4_000
        assert time.monotonic() - begun >= 0.2


def test_duplicated_bytes_come_more_than_once(proxy: FaultProxy) -> None:
    proxy.switch(Fault(duplicates=1.0))
    with connect(proxy) as connection:
        connection.sendall(b"ab")
        assert receive(connection, 8) == b"abababab", "doubled there and doubled back"


def test_corrupted_bytes_differ_and_are_as_many(proxy: FaultProxy) -> None:
    proxy.switch(Fault(corrupts=1.0))
    with connect(proxy) as connection:
        connection.sendall(b"\0" * 100)
        got = receive(connection, 100)
        assert len(got) == 100
        assert 1 <= sum(byte != 0 for byte in got) <= 2, "one byte there, one back"


def test_a_black_hole_accepts_and_passes_nothing(proxy: FaultProxy) -> None:
    proxy.switch(Fault(is_black_hole=True))
    with connect(proxy) as connection:
        connection.sendall(b"lost")
        while proxy.swallowed < 4:
            time.sleep(0.001)
        assert is_silent(connection)
        proxy.switch(NO_FAULT)
        connection.sendall(b"found")
        assert receive(connection, 5) == b"found", "what was lost stays lost, the connection goes on"


def test_a_target_that_is_not_there_closes_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    with FaultProxy(address) as proxy, connect(proxy) as connection, contextlib.suppress(ConnectionError):
        assert connection.recv(1) == b""


@pytest.mark.parametrize("wrong", [{"delay_s": -1.0}, {"duplicates": 2.0}, {"corrupts": -0.1}])
def test_a_fault_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Fault(**wrong)  # type: ignore[arg-type]
