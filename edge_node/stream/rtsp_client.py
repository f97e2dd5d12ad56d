"""RTSP as somebody who sends (RFC 2326: ANNOUNCE, SETUP, RECORD), with RTP in the same TCP connection. [I/O]

Owns one connection: requests with their answers, Basic and Digest, RTP packets of H.264 (RFC 6184, cut by
aiortc) and sender reports. FFmpeg's muxer is not used: PyAV holds the interpreter's lock while it connects,
so a server that hangs would hold up the veil. `stream.publish` decides what is sent, and when to try again.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
import ssl
import struct
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from aiortc.codecs.h264 import H264Encoder

from edge_node.stream.webrtc_codec import CLOCK
from edge_node.stream.webrtc_queue import CodedFrame

TIMEOUT_S = 5.0
"""For each answer, and for the network to take a frame."""
MAX_BODY_BYTES = 64 * 1024
PORTS = {"rtsp": 554, "rtsps": 322}
PAYLOAD_TYPE = 96
NTP_EPOCH_S = 2_208_988_800
_START_CODE = re.compile(rb"\x00\x00\x00?\x01")
_CHALLENGE = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


class PublishTrouble(Exception):  # noqa: N818 - an event: it is tried again
    """The server cannot be used at present; the text says why, without address or secret."""


def parameter_sets(annex_b: bytes) -> tuple[bytes, bytes]:
    """The sequence and picture parameter sets of a keyframe; b"" where there is none."""
    found = {7: b"", 8: b""}
    for unit in _START_CODE.split(annex_b):
        if unit and unit[0] & 0x1F in found:
            found[unit[0] & 0x1F] = unit.rstrip(b"\x00")
    return found[7], found[8]


def description(sps: bytes, pps: bytes) -> str:
    """The SDP of our one stream."""
    sets = f";sprop-parameter-sets={base64.b64encode(sps).decode()},{base64.b64encode(pps).decode()}"
    profile = f";profile-level-id={sps[1:4].hex()}"
    lines = [
        "v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=Veilcast", "c=IN IP4 0.0.0.0", "t=0 0",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK}",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1{profile + sets if sps and pps else ''}",
        "a=control:trackID=0",
    ]  # fmt: skip
    return "\r\n".join(lines) + "\r\n"


def authorization(challenge: str, user: str, password: str, method: str, uri: str) -> str:
    """The header's value for a server's challenge (RFC 2617, RFC 7616); "" for one that is not known."""
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() == "basic":
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    if scheme.lower() != "digest":
        return ""
    given = {key.lower(): quoted or plain for key, quoted, plain in _CHALLENGE.findall(rest)}
    realm, nonce, algorithm = given.get("realm", ""), given.get("nonce", ""), given.get("algorithm", "MD5")
    if algorithm.upper() not in ("MD5", "SHA-256"):
        return ""

    def digest(text: str) -> str:
        if algorithm.upper() == "SHA-256":
            return hashlib.sha256(text.encode()).hexdigest()
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()  # what the protocol asks for

    ours, theirs = digest(f"{user}:{realm}:{password}"), digest(f"{method}:{uri}")
    words = f'username="{user}", realm="{realm}", nonce="{nonce}", uri="{uri}"'
    if "auth" in given.get("qop", "").split(","):
        client = secrets.token_hex(8)
        proof = digest(f"{ours}:{nonce}:00000001:{client}:auth:{theirs}")
        words += f', qop=auth, nc=00000001, cnonce="{client}"'
    else:
        proof = digest(f"{ours}:{nonce}:{theirs}")
    return f'Digest {words}, response="{proof}", algorithm={algorithm}'


class RtspClient:
    """One connection. `open`, then `send` frames; `watch` ends when the server does; `close`."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url
        self._user, self._password = user, password
        self._challenge = ""
        self._session = ""
        self._number = 0
        self._sequence = secrets.randbelow(1 << 15)
        self._ssrc = secrets.randbits(32)
        self._packets = self._octets = 0
        self._packer = H264Encoder()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Raises PublishTrouble and OSError."""
        parts = urlsplit(self._url)
        tls = ssl.create_default_context() if parts.scheme == "rtsps" else None
        connecting = asyncio.open_connection(parts.hostname, parts.port or PORTS[parts.scheme], ssl=tls)
        async with asyncio.timeout(TIMEOUT_S):
            self._reader, self._writer = await connecting

    async def record(self, keyframe: bytes) -> None:
        """Announce the stream that begins with `keyframe` (Annex B). Raises PublishTrouble and OSError."""
        await self._ask("OPTIONS", self._url)
        sdp = description(*parameter_sets(keyframe))
        await self._ask("ANNOUNCE", self._url, {"Content-Type": "application/sdp"}, sdp)
        transport = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"}
        answer = await self._ask("SETUP", f"{self._url.rstrip('/')}/trackID=0", transport)
        self._session = answer.get("session", "").partition(";")[0]
        await self._ask("RECORD", self._url, {"Range": "npt=0.000-"})

    async def send(self, frame: CodedFrame) -> None:
        """Send a frame; waits while the network takes it. Raises TimeoutError and OSError."""
        assert self._writer is not None
        payloads, _ = self._packer.pack(frame.packet)
        stamp = (frame.packet.pts or 0) & 0xFFFFFFFF
        for n, payload in enumerate(payloads, 1):
            marker = 0x80 if n == len(payloads) else 0
            header = struct.pack("!BBHII", 0x80, PAYLOAD_TYPE | marker, self._sequence, stamp, self._ssrc)
            self._sequence = (self._sequence + 1) & 0xFFFF
            self._packets += 1
            self._octets += len(payload)
            self._put(0, header + payload)
        async with asyncio.timeout(TIMEOUT_S):
            await self._writer.drain()

    def report(self, frame: CodedFrame) -> None:
        """Say which time of day the frame's RTP time is, and that we are still here."""
        now = time.time() - (time.monotonic() - frame.captured_at) + NTP_EPOCH_S
        stamp = (frame.packet.pts or 0) & 0xFFFFFFFF
        report = struct.pack(
            "!BBHIIIIII", 0x80, 200, 6, self._ssrc, int(now) & 0xFFFFFFFF, int(now % 1 * (1 << 32)),
            stamp, self._packets & 0xFFFFFFFF, self._octets & 0xFFFFFFFF,
        )  # fmt: skip
        self._put(1, report)
        self._write("OPTIONS", self._url, {}, "")

    async def watch(self) -> None:
        """Read what the server says until it ends the connection. Raises OSError and EOFError."""
        while True:
            await self._answer()

    async def close(self) -> None:
        """Say goodbye, without waiting for an answer."""
        if self._writer is None:
            return
        if self._session and not self._writer.is_closing():
            self._write("TEARDOWN", self._url, {}, "")
        self._writer.close()
        try:
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()

    # --- requests ---------------------------------------------------------------------------------

    async def _ask(
        self, method: str, uri: str, headers: dict[str, str] | None = None, body: str = ""
    ) -> dict[str, str]:
        """The headers of the answer, names in lower case."""
        for _ in range(2):
            had_challenge = bool(self._challenge)
            self._write(method, uri, headers or {}, body)
            async with asyncio.timeout(TIMEOUT_S):
                status, answer = await self._answer()
            if status == 401 and not had_challenge and self._user and "www-authenticate" in answer:
                self._challenge = answer["www-authenticate"]
                continue
            break
        if status in (401, 403):
            raise PublishTrouble(f"it answers {status}: check publish.user and publish.secret_file")
        if status != 200:
            raise PublishTrouble(f"it answers {status} to {method}")
        return answer

    def _write(self, method: str, uri: str, headers: dict[str, str], body: str) -> None:
        assert self._writer is not None
        self._number += 1
        lines = [f"{method} {uri} RTSP/1.0", f"CSeq: {self._number}", "User-Agent: veilcast"]
        if self._session:
            lines.append(f"Session: {self._session}")
        if self._challenge:
            proof = authorization(self._challenge, self._user, self._password, method, uri)
            lines.append(f"Authorization: {proof}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body.encode())}")
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def _put(self, channel: int, packet: bytes) -> None:
        assert self._writer is not None
        self._writer.write(struct.pack("!BBH", 0x24, channel, len(packet)) + packet)

    async def _answer(self) -> tuple[int, dict[str, str]]:
        """The next answer; receiver reports between answers are passed over."""
        assert self._reader is not None
        while (first := await self._reader.readexactly(1)) == b"$":
            _, size = struct.unpack("!BH", await self._reader.readexactly(3))
            await self._reader.readexactly(size)
        try:
            head = first + await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise PublishTrouble("its answer is too long") from None
        status, headers = parse_answer(head)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            raise PublishTrouble("its answer is too long")
        await self._reader.readexactly(int(length))
        return status, headers


def parse_answer(head: bytes) -> tuple[int, dict[str, str]]:
    """Status (0 for a request of the server's) and headers, the first of each name. Raises PublishTrouble."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if not words[0].startswith("RTSP/"):
        return 0, dict(_headers(lines[1:]))
    if len(words) < 2 or not words[1].isdigit():
        raise PublishTrouble("it does not speak RTSP")
    return int(words[1]), dict(_headers(lines[1:]))


def _headers(lines: list[str]) -> Iterator[tuple[str, str]]:
    # dict() keeps the last of a name: the first challenge, the server's favorite, must win.
    for line in reversed(lines):
        name, colon, value = line.partition(":")
        if colon:
            yield name.strip().lower(), value.strip()
