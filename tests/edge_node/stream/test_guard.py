"""Tickets at a node: every way in with one, and none without. Real servers; real TLS where it matters."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from prometheus_client import CollectorRegistry

from edge_node.bridge import LoopCaller
from edge_node.stream.errors import WebError
from edge_node.stream.guard import Guard, open_guard
from edge_node.stream.mjpeg import MjpegSink
from edge_node.stream.state import Health, LinkState, NodeState
from edge_node.stream.web import WebPorts, WebServer
from edge_node.stream.webrtc import WebRtcSink
from protocol.tickets import Ticket, sign_ticket
from tests.edge_node.stream.frames import masked

HUB = "https://hub.lan:8443"
KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
PATHS = ("/", "/page.js", "/stream.mjpg", "/snapshot.jpg", "/state", "/events", "/nothing")


def ticket(
    camera: str = "door", names: bool = True, life_s: float = 300.0, key: Ed25519PrivateKey = KEY
) -> str:
    now = time.time()
    return sign_ticket(Ticket(camera, "ann", names, now + life_s - 400, now + life_s), key)


class Node:
    def __init__(self, folder: Path | None = None, **guard: object) -> None:
        self.sink = MjpegSink()
        self.live = WebRtcSink(LoopCaller(asyncio.get_running_loop()))
        link = LinkState("live", "demo", 0.0)
        self.guard = Guard("door", PUBLIC, HUB, **guard)  # type: ignore[arg-type]
        ports = WebPorts(
            lambda: NodeState("door", link, link, (0, 0, 0), 0.0), lambda: Health(True, "well"),
            self.sink, CollectorRegistry(), self.live,
        )  # fmt: skip
        files = ("", "") if folder is None else certificate(folder)
        self.server = WebServer(ports, "127.0.0.1" if folder is None else "0.0.0.0", 0, *files, self.guard)
        self.ca = files[0]

    @property
    def url(self) -> str:
        return self.server.url.rstrip("/").replace("0.0.0.0", "127.0.0.1")


@asynccontextmanager
async def running(
    folder: Path | None = None, **guard: object
) -> AsyncIterator[tuple[Node, aiohttp.ClientSession]]:
    node = Node(folder, **guard)
    await node.server.start()
    tls: ssl.SSLContext | bool = ssl.create_default_context(cafile=node.ca) if node.ca else False
    try:
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls),
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            timeout=aiohttp.ClientTimeout(total=60),
        ) as client:
            yield node, client
    finally:
        await node.server.stop()
        node.sink.close()
        node.live.close()


def certificate(folder: Path) -> tuple[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "door")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert, secret = folder / "door.crt", folder / "door.key"
    cert.write_bytes(built.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(cert), str(secret)


async def status(client: aiohttp.ClientSession, url: str, text: str = "", **headers: str) -> int:
    sent = {**({"Authorization": f"Bearer {text}"} if text else {}), **headers}
    async with client.get(url, headers=sent) as response:
        return response.status


async def test_nothing_opens_without_a_good_ticket(tmp_path: Path) -> None:
    bad = {
        "expired": ticket(life_s=-1.0),
        "not valid yet": ticket(life_s=500.0),
        "another camera": ticket("hall"),
        "not signed": ticket(key=Ed25519PrivateKey.generate()),
        "no ticket": "nonsense",
        "needs a ticket": "",
    }
    cut = ticket()[:-2]
    async with running(tmp_path) as (node, client):
        node.sink.push(masked(0))
        for why, text in [*bad.items(), ("not signed", cut)]:
            for path in PATHS:
                headers = {"Authorization": f"Bearer {text}"} if text else {}
                async with client.get(node.url + path, headers=headers) as response:
                    assert response.status == 401, (why, path)
                    assert why in await response.text()
            async with client.post(
                node.url + "/whep", data="v=0", headers={**headers, "Content-Type": "application/sdp"}
            ) as response:
                assert response.status == 401, why
        assert await status(client, node.url + "/nothing", ticket()) == 404
        assert await status(client, node.url + "/state", ticket()) == 200
        assert await status(client, node.url + f"/snapshot.jpg?ticket={ticket()}") == 200
        assert await status(client, node.url + "/snapshot.jpg") == 401, "a picture leaves no cookie"


async def test_the_page_brings_its_ticket_to_what_it_loads(tmp_path: Path) -> None:
    async with running(tmp_path) as (node, client):
        async with client.get(node.url + f"/?ticket={ticket()}") as response:
            assert response.status == 200
            (cookie,) = response.headers.getall("Set-Cookie")
            assert cookie.startswith("__Host-veilcast-ticket-door=")
            assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
            assert response.headers["Referrer-Policy"] == "no-referrer", "the address has the ticket in it"
        assert await status(client, node.url + "/page.js") == 200
        assert await status(client, node.url + "/state") == 200


async def test_health_and_metrics_are_open_to_this_machine() -> None:
    async with running() as (node, client):
        assert await status(client, node.url + "/healthz") == 200
        assert await status(client, node.url + "/metrics") == 200
        assert await status(client, node.url + "/state") == 401


async def test_whoever_may_not_see_names_is_told_none() -> None:
    async with running() as (node, client):
        node.sink.push(masked(0, names=("Ada",)))
        for names, expected in ((True, "Ada"), (False, "")):
            headers = {"Authorization": f"Bearer {ticket(names=names)}"}
            async with client.get(node.url + "/state", headers=headers) as response:
                assert [face["name"] for face in (await response.json())["picture"]["shown"]] == [expected]
            async with client.get(node.url + "/events", headers=headers) as response:
                await response.content.readline()
                line = await response.content.readline()
                shown = json.loads(line.removeprefix(b"data: "))["picture"]["shown"]
                assert [face["name"] for face in shown] == [expected]


async def test_names_in_the_picture_are_not_for_everyone() -> None:
    async with running(has_captions=True) as (node, client):
        assert await status(client, node.url + "/state", ticket(names=False)) == 403
        assert await status(client, node.url + "/state", ticket(names=True)) == 200


async def test_a_stream_ends_with_its_ticket() -> None:
    async with running() as (node, client):
        node.sink.push(masked(0))
        for path in ("/events", "/stream.mjpg"):
            headers = {"Authorization": f"Bearer {ticket(life_s=1.5)}"}
            async with client.get(node.url + path, headers=headers) as response:
                assert response.status == 200
                with pytest.raises(aiohttp.ClientPayloadError):  # cut off, not ended
                    await response.read()


async def test_a_live_session_ends_with_its_ticket_unless_it_is_prolonged() -> None:
    aiortc = pytest.importorskip("aiortc")
    async with running() as (node, client):
        viewer = aiortc.RTCPeerConnection()
        viewer.addTransceiver("video", direction="recvonly")
        await viewer.setLocalDescription(await viewer.createOffer())
        bearer = {"Authorization": f"Bearer {ticket(life_s=4.0)}"}
        headers = {**bearer, "Content-Type": "application/sdp"}
        offer = viewer.localDescription.sdp
        async with client.post(node.url + "/whep", data=offer, headers=headers) as response:
            assert response.status == 201
            place = response.headers["Location"]
            answer = aiortc.RTCSessionDescription(sdp=await response.text(), type="answer")
        await viewer.setRemoteDescription(answer)
        name = place.rpartition("/")[2]
        now = time.time()
        others = sign_ticket(Ticket("door", "bob", True, now, now + 300), KEY)
        for text, expected in ((others, 403), (ticket(life_s=2.0), 204)):
            async with client.put(node.url + place, headers={"Authorization": f"Bearer {text}"}) as response:
                assert response.status == expected
        assert node.live.find(name) is not None
        async with asyncio.timeout(60):
            while node.live.find(name) is not None:  # noqa: ASYNC110 - a socket's end has no event here
                await asyncio.sleep(0.05)
        async with client.put(node.url + place, headers={"Authorization": f"Bearer {ticket()}"}) as response:
            assert response.status == 404
        await viewer.close()


async def test_pages_of_the_hub_may_ask_and_no_others() -> None:
    async with running() as (node, client):
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        for origin, expected in ((HUB, 204), ("https://evil.example", 403), ("null", 403)):
            async with client.options(node.url + "/whep", headers={"Origin": origin, **asks}) as response:
                assert response.status == expected
                allowed = response.headers.get("Access-Control-Allow-Origin")
                assert allowed == (HUB if origin == HUB else None)
                assert response.headers["Vary"] == "Origin"
        async with client.options(node.url + "/whep", headers={"Origin": HUB, **asks}) as response:
            assert {"POST", "PUT", "PATCH", "DELETE"} <= set(
                response.headers["Access-Control-Allow-Methods"].split(", ")
            )
        headers = {"Origin": HUB, "Authorization": f"Bearer {ticket()}"}
        async with client.get(node.url + "/state", headers=headers) as response:
            assert response.headers["Access-Control-Allow-Origin"] == HUB
            assert "Access-Control-Allow-Credentials" not in response.headers
            assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
        async with client.get(
            node.url + "/state", headers={**headers, "Origin": "https://evil.example"}
        ) as response:
            assert "Access-Control-Allow-Origin" not in response.headers


async def test_other_addresses_need_tickets_as_well_as_tls(tmp_path: Path) -> None:
    node = Node()
    cert, key = certificate(tmp_path)
    with pytest.raises(WebError, match=r"to whoever asks: set web\.ticket_key"):
        WebServer(node.server._app_ports, "0.0.0.0", 0, cert, key)
    with pytest.raises(WebError, match="without TLS"):
        WebServer(node.server._app_ports, "0.0.0.0", 0, guard=node.guard)
    WebServer(node.server._app_ports, "0.0.0.0", 0, cert, key, node.guard)
    node.sink.close()
    node.live.close()


def test_the_key_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "sign.pub"
    assert open_guard("door", "", "", has_captions=True) is None
    with pytest.raises(WebError, match="hub_origin needs"):
        open_guard("door", "", HUB, has_captions=True)
    with pytest.raises(WebError, match="cannot be read"):
        open_guard("door", str(path), "", has_captions=True)
    path.write_text("nonsense")
    with pytest.raises(WebError, match="not a public signing key"):
        open_guard("door", str(path), "", has_captions=True)
    path.write_text(base64.b64encode(PUBLIC).decode() + "\n")
    guard = open_guard("door", str(path), HUB, has_captions=False)
    assert guard is not None
    assert (guard.public, guard.hub_origin, guard.has_captions) == (PUBLIC, HUB, False)
