"""The byte counter and the interval, with plain sockets and plain numbers."""

from __future__ import annotations

import socket
import threading

import pytest

from benchmarks.counting import CountingProxy
from benchmarks.interval import median_95

LIMIT_S = 5.0
"""Only a hang takes this long."""


def answer_once(listener: socket.socket, expected: int, answer: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        while expected:
            expected -= len(connection.recv(expected))
        connection.sendall(answer)


def test_every_byte_is_counted_in_its_direction() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer_once, args=(listener, 100_000, b"b" * 777), daemon=True)
        server.start()
        with (
            CountingProxy(listener.getsockname()) as proxy,
            socket.create_connection(("127.0.0.1", proxy.port), LIMIT_S) as client,
        ):
            client.sendall(b"a" * 100_000)
            received = b"".join(iter(lambda: client.recv(4096), b""))
            assert received == b"b" * 777
            assert proxy.passed() == (100_000, 777)
        server.join(LIMIT_S)


def test_a_target_that_is_gone_is_a_connection_that_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nowhere = listener.getsockname()
    with (
        CountingProxy(nowhere) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), LIMIT_S) as client,
    ):
        assert client.recv(1) == b""
        assert proxy.passed() == (0, 0)


def test_one_spoiled_repeat_moves_the_median_little() -> None:
    middle, low, high = median_95([10.0, 10.2, 9.9, 10.1, 55.0])
    assert middle == pytest.approx(10.1)
    assert low <= middle <= high
    assert low >= 9.9


def test_equal_repeats_leave_no_doubt() -> None:
    assert median_95([3.0] * 5) == (3.0, 3.0, 3.0)


def test_nothing_measured_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="nothing"):
        median_95([])
