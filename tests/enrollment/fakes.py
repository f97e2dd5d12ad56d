"""Stand-ins for enrollment's tests: a detector told what to see, a hub in memory, pictures."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
import zmq
from msgspec.structs import replace
from numpy.typing import NDArray
from zmq.auth.thread import ThreadAuthenticator

from enrollment.errors import HubRefusalError
from enrollment.examine import AcceptedPhoto
from enrollment.inputs import ConsentTerms
from protocol.codec import decode, encode
from protocol.keys import KeyPair
from protocol.messages import (
    AddPerson,
    AnyMessage,
    Consent,
    Document,
    ExportPerson,
    GrantConsent,
    ListPeople,
    People,
    Person,
    Refusal,
    RemovePerson,
    ShowPerson,
    ShowReceipt,
    Template,
    WithdrawConsent,
)
from protocol.session import HubFacts, HubSession, MessageReceived
from vision.detections import Detections, Image

NOW = 1_800_000_000.0
FRONTAL = ((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8))
PROFILE = ((0.3, 0.4), (0.7, 0.4), (0.95, 0.6), (0.35, 0.8), (0.65, 0.8))

Box = tuple[float, float, float, float]


def faces(*boxes: Box, score: float = 0.99, spots: Any = FRONTAL) -> Detections:
    """Detections with landmarks at `spots` (parts of each box)."""
    array = np.array(boxes, np.float32).reshape(-1, 4)
    size = array[:, 2:] - array[:, :2]
    landmarks = array[:, None, :2] + np.array(spots, np.float32)[None] * size[:, None]
    return Detections(array, np.full(len(array), score, np.float32), landmarks)


def textured(height: int = 300, width: int = 400, seed: int = 0) -> Image:
    """Sharp, evenly lit noise: passes for a face in focus."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def write_picture(path: Path, image: Image) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


class FakeDetector:
    """Sees one good face in the middle third of every picture, unless told otherwise."""

    def __init__(self, see: Callable[[Image], Detections] | None = None) -> None:
        self._see = see or one_face
        self.shapes: list[tuple[int, ...]] = []

    def detect(self, image: Image) -> Detections:
        self.shapes.append(image.shape)
        return self._see(image)

    def refine(self, image: Image, boxes_xyxy: NDArray[np.float32]) -> Detections:
        raise AssertionError("enrollment scans whole photos")


def one_face(image: Image) -> Detections:
    height, width = image.shape[:2]
    return faces((width / 3, height / 3, width * 2 / 3, height * 2 / 3))


@dataclass
class HubInMemory:
    """The hub's people, as far as enrollment can tell."""

    people: dict[str, Person] = field(default_factory=dict)
    refuse: dict[str, Refusal] = field(default_factory=dict)
    """Names whose AddPerson is refused."""
    refuse_from_message: int = 0
    adds: list[AddPerson] = field(default_factory=list)
    receipt: dict[str, Any] = field(default_factory=dict)
    """What the receipts of erasure say."""

    def do(self, request: AnyMessage) -> AnyMessage:
        """The answer to a request."""
        common = {"session": request.session, "seq": getattr(request, "seq", 0)}
        if isinstance(request, ListPeople):
            names = sorted(n for n in self.people if n > request.after)
            page = tuple(self.people[n] for n in names[:2])  # small pages, so that tests see several
            return People(people=page, gallery_version=1, more=len(names) > 2, **common)
        if isinstance(request, ShowReceipt | ExportPerson):
            return self._document(request, common)
        assert isinstance(request, AddPerson | ShowPerson | RemovePerson | GrantConsent | WithdrawConsent)
        if isinstance(request, AddPerson):
            return self._add(request, common)
        person = self.people.get(request.name)
        if person is None:
            text = "nobody of this name is enrolled"
            return Refusal(code="not-found", text=text, **common)
        match request:
            case RemovePerson():
                del self.people[request.name]
            case GrantConsent():
                person = replace(person, consented=True, consents=(consent(request.until, request.cameras),))
            case WithdrawConsent():
                ended = tuple(replace(c, withdrawn_at=NOW) for c in person.consents)
                person = replace(person, consented=False, consents=ended)
        if not isinstance(request, RemovePerson):
            self.people[request.name] = person
        return People(people=(person,), gallery_version=1, **common)

    def _document(self, request: ShowReceipt | ExportPerson, common: dict[str, Any]) -> AnyMessage:
        """In parts of two small pieces, so that tests see several."""
        if isinstance(request, ShowReceipt):
            body = {"identity": request.identity, "is_unknown": True} | self.receipt
            text, offset = json.dumps({"receipt": body, "signature": "c2lnbmVk"}), 0
            pieces: tuple[str, ...] = (text,)
        else:
            if request.name not in self.people:
                return Refusal(code="not-found", text="nobody of this name is enrolled", **common)
            text, offset = json.dumps({"name": request.name, "shown": list(range(40))}), request.offset
            pieces = (text[offset : offset + 30], text[offset + 30 : offset + 60])
        digest = hashlib.sha256(text.encode()).hexdigest()
        return Document(digest=digest, total=len(text), offset=offset, pieces=pieces, **common)

    def _add(self, request: AddPerson, common: dict[str, Any]) -> AnyMessage:
        refusal = self.refuse.get(request.name)
        if refusal is not None and len(self.adds) >= self.refuse_from_message:
            return replace(refusal, **common)
        self.adds.append(request)
        templates = tuple(
            Template(model_id="fake", source=p.source, quality=p.quality, added_at=NOW)
            for p in request.photos
        )
        person = self.people.get(request.name) or Person(
            identity=f"id-{len(self.people)}",
            name=request.name,
            added_at=NOW,
            consented=True,
            consents=(consent(request.consent_until, request.cameras, request.note),),
            templates=(),
        )
        self.people[request.name] = replace(person, templates=person.templates + templates)
        return People(people=(self.people[request.name],), gallery_version=1, **common)


def consent(
    until: float | None = None, cameras: tuple[str, ...] = (), note: str = "", at: float = NOW
) -> Consent:
    return Consent(id="c", granted_at=at, until=until, withdrawn_at=None, cameras=cameras, note=note)


class HubPort:
    """`enrollment.enroll.Hub` over a hub in memory, without a socket."""

    def __init__(self, hub: HubInMemory) -> None:
        self._hub = hub
        self.beats = 0

    def add(
        self, name: str, photos: Sequence[AcceptedPhoto], terms: ConsentTerms, keep_photos: bool = False
    ) -> Person:
        answer = self._hub.do(
            AddPerson(
                session=bytes(16),
                seq=1,
                name=name,
                photos=tuple(p.photo for p in photos),
                cameras=terms.cameras,
                consent_until=terms.until,
                note=terms.note,
            )
        )
        if isinstance(answer, Refusal):
            raise HubRefusalError(answer.code, answer.text)
        assert isinstance(answer, People)
        return answer.people[0]

    def keep_alive(self) -> None:
        self.beats += 1


class _Allowed:
    """ZAP: the keys that may come in."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = keys

    def callback(self, domain: str, key: bytes) -> bool:
        return key in self._keys


class FakeHub:
    """A hub on loopback: ROUTER, CURVE, ZAP allow-list, one `HubSession` per connection."""

    def __init__(self, keys: KeyPair, allowed: Sequence[KeyPair], hub: HubInMemory | None = None) -> None:
        self.hub = hub or HubInMemory()
        self.payloads: list[tuple[bytes, ...]] = []
        self.forget_next_requests = 0
        """So many requests are met by a hub that knows no session any more."""
        self.mute = False
        self.speaks_other_version = False
        self.admin_name = allowed[0].name if allowed else "nobody"
        self._sessions: dict[bytes, HubSession] = {}
        self._stop = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(
            credentials_provider=_Allowed([k.public for k in allowed])
        )
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.curve_server = True
        self._socket.curve_publickey, self._socket.curve_secretkey = keys.public, keys.secret
        self.address = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self._thread = threading.Thread(target=self._run, name="fake-hub")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(5.0)
        self._authenticator.stop()
        self._context.destroy(linger=0)

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._socket.poll(20):
                route, *parts = self._socket.recv_multipart()
                for answer in [] if self.mute else self._answers(route, parts):
                    self._socket.send_multipart([route, *answer])

    def _answers(self, route: bytes, parts: list[bytes]) -> list[list[bytes]]:
        message, _ = decode(parts)
        if self.speaks_other_version:
            refusal = Refusal(session=message.session, code="version", text="this hub speaks 9, you 1")
            return [encode(refusal)]
        if self.forget_next_requests and hasattr(message, "seq"):
            self.forget_next_requests -= 1
            self._sessions.clear()
        session = self._sessions.setdefault(
            route, HubSession("admin", self.admin_name, lambda: HubFacts("fake", 1))
        )
        for event in session.receive(parts, 0.0):
            if isinstance(event, MessageReceived):
                self.payloads.append(event.payloads)
                answer = self.hub.do(event.message)
                session.send(answer, (), 0.0)
        return session.take_outgoing()
