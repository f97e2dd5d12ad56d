"""A TCP proxy that counts: what really crosses the socket, whatever the program believes.

Owns one listening loopback port; every connection to it is joined to one target, by a thread each way.
Knows nothing of what the bytes mean: framing, encryption and handshakes are counted like all else.
"""

from __future__ import annotations

import contextlib
import socket
import threading

CHUNK_BYTES = 65_536
LIMIT_S = 5.0
"""Only a hang takes this long."""


class CountingProxy:
    """Joins a port of its own to `target` (host, port). A context manager."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._there = self._back = 0
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, name="counting-proxy", daemon=True)

    def __enter__(self) -> CountingProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        _end(self._listener)
        with self._lock:
            while self._open:
                _end(self._open.pop())
        self._thread.join(LIMIT_S)

    @property
    def address(self) -> str:
        """As ZeroMQ writes it."""
        return f"tcp://127.0.0.1:{self.port}"

    def passed(self) -> tuple[int, int]:
        """Bytes so far: to the target, and back from it."""
        with self._lock:
            return self._there, self._back

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # the proxy ends
            try:
                far = socket.create_connection(self._target, LIMIT_S)
            except OSError:
                near.close()  # refused, as the target refuses
                continue
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            for source, sink, is_back in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._copy, args=(source, sink, is_back), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, is_back: bool) -> None:
        try:
            while data := source.recv(CHUNK_BYTES):
                with self._lock:
                    if is_back:
                        self._back += len(data)
                    else:
                        self._there += len(data)
                sink.sendall(data)
        except OSError:
            pass  # one side is gone: so is the connection, like a cable
        with self._lock:
            for one in {source, sink} & self._open:
                self._open.discard(one)
                _end(one)


def _end(one: socket.socket) -> None:
    """Shut down first: closing alone does not wake a thread that waits in it."""
    with contextlib.suppress(OSError):  # the other side was faster
        one.shutdown(socket.SHUT_RDWR)
    one.close()
