"""A real HTTPS server on loopback with one file, that can be told to misbehave."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class FileServer:
    """What it serves, how it fails, and what it was asked. `content` may be replaced at any time."""

    content: bytes
    port: int
    certificate: Path
    etag: str | None = '"one"'
    cuts: list[int] = field(default_factory=list)
    """Of each coming answer, how many bytes of its body are sent before the connection is cut."""
    statuses: list[int] = field(default_factory=list)
    """Of each coming answer, a status instead of the file."""
    redirects: dict[str, str] = field(default_factory=dict)
    claimed_length: int | None = None
    sends_length: bool = True
    wrong_range: bool = False
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of each request."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/weights.h5"

    @property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


@contextmanager
def file_server(content: bytes, folder: Path) -> Iterator[FileServer]:
    """Serves until the block ends."""
    certificate, key = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.socket = context.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    state = FileServer(content, http.server_address[1], certificate)
    http.state = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), name="file-server", daemon=True)
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        state: FileServer = self.server.state  # type: ignore[attr-defined]
        asked = self.headers.get("Range")
        state.requests.append((self.path, asked))
        self.close_connection = True
        if self.path in state.redirects:
            self.send_response(302)
            self.send_header("Location", state.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif state.statuses:
            self.send_error(state.statuses.pop(0))
        else:
            self._send_file(state, asked)

    def _send_file(self, state: FileServer, asked: str | None) -> None:
        start = 0
        if asked is not None and self.headers.get("If-Range") == state.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(state.content):
                self.send_error(416)
                return
        body = state.content[start:]
        self.send_response(206 if start else 200)
        if start:
            first = start + 1 if state.wrong_range else start
            self.send_header("Content-Range", f"bytes {first}-{len(state.content) - 1}/{len(state.content)}")
        if state.sends_length:
            self.send_header("Content-Length", str(state.claimed_length or len(body)))
        if state.etag is not None:
            self.send_header("ETag", state.etag)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[: state.cuts.pop(0)] if state.cuts else body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "server.pem", folder / "server.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths
