"""The messages of the wire, as frozen structs. Both ends construct and receive only these.

A message travels as one MessagePack map (the header part) followed by zero or more binary parts
(JPEG crops). `FaceQuery` carries one crop, `AddPerson` and `ShowLikeness` one per photo, all others none. Who
turns them into bytes and back is `protocol.codec`; who may say what when is `protocol.session`.

Times on the wire are durations in seconds (leases) or UTC epoch seconds (consents): a node's clock
is never compared with the hub's. Points and boxes are pixels.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from protocol import limits

PROTOCOL_VERSIONS: tuple[int, ...] = (1,)
"""Versions this software speaks, best first."""

SessionId = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""Chosen at random by the side that says Hello; every later message of the session repeats it."""

Text = Annotated[str, Meta(max_length=limits.MAX_TEXT_CHARS)]
Name = Annotated[str, Meta(min_length=1, max_length=limits.MAX_NAME_CHARS)]
IdentityId = Annotated[str, Meta(max_length=limits.MAX_NAME_CHARS)]
"""Opaque id of an enrolled identity; the empty string where there is none."""
Seconds = Annotated[float, Meta(ge=0.0, le=limits.MAX_DURATION_S)]
EpochSeconds = Annotated[float, Meta(ge=0.0, le=limits.MAX_EPOCH_S)]
Unit = Annotated[float, Meta(ge=0.0, le=1.0)]
Similarity = Annotated[float, Meta(ge=-1.0, le=1.0)]
Counter = Annotated[int, Meta(ge=0, le=2**53)]
Pixel = Annotated[float, Meta(ge=-limits.MAX_PIXEL, le=limits.MAX_PIXEL)]
Point = tuple[Pixel, Pixel]
Landmarks = tuple[Point, Point, Point, Point, Point]
"""Left eye, right eye, nose tip, left and right mouth corner (left as seen in the picture)."""
Cameras = Annotated[tuple[Name, ...], Meta(max_length=limits.MAX_CAMERAS)]
"""Node names; empty means every camera."""
Role = Literal["node", "admin"]


class Message(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What all messages share: the session they belong to."""

    session: SessionId


# --- conversation -----------------------------------------------------------------------------


class Hello(Message, frozen=True, kw_only=True, tag="hello"):
    """Opens a session. The hub answers Welcome or Refusal; the name must fit the CURVE key."""

    role: Role
    name: Name
    versions: Annotated[tuple[int, ...], Meta(min_length=1, max_length=16)]
    software: Text = ""


class Welcome(Message, frozen=True, kw_only=True, tag="welcome"):
    """The session stands. `mode` is the camera's policy, for people to read on the live page."""

    version: int
    heartbeat_s: Annotated[float, Meta(ge=limits.MIN_HEARTBEAT_S, le=limits.MAX_HEARTBEAT_S)]
    liveness: Annotated[int, Meta(ge=1, le=100)]
    model_id: Text
    gallery_version: Counter
    mode: Text = ""


class Heartbeat(Message, frozen=True, kw_only=True, tag="heartbeat"):
    """Sent when nothing else was for `heartbeat_s`. Any message proves life; this one only that."""


class Goodbye(Message, frozen=True, kw_only=True, tag="goodbye"):
    """The sender leaves. A node veils everything; the hub forgets the session."""

    reason: Text = ""


RefusalCode = Literal[
    "version", "not-allowed", "no-session", "malformed", "overloaded", "not-found", "conflict",
    "invalid", "quality", "duplicate", "internal",
]  # fmt: skip


class Refusal(Message, frozen=True, kw_only=True, tag="refusal"):
    """Something asked for was not done. `seq` repeats the request's where there was one."""

    code: RefusalCode
    text: Text
    seq: Counter = 0
    retry_after_s: Seconds = 0.0


# --- recognition ------------------------------------------------------------------------------


class FaceQuery(Message, frozen=True, kw_only=True, tag="face-query"):
    """Who is this? One crop (the contract of `vision.crops`) of one track."""

    seq: Counter
    track: Counter
    landmarks: Landmarks
    quality: Unit


class FaceDecision(Message, frozen=True, kw_only=True, tag="face-decision"):
    """The answer to `FaceQuery` seq: reveal the track for `lease_s` seconds from now, or veil it.

    `identity`, `name`, `similarity` and `margin` are set only where `reveal` is true.
    """

    seq: Counter
    track: Counter
    reveal: bool
    lease_s: Seconds
    identity: IdentityId = ""
    name: Text = ""
    similarity: Similarity = 0.0
    margin: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.0
    reason: Text = ""


class Revoke(Message, frozen=True, kw_only=True, tag="revoke"):
    """Veil at once: the given tracks, and every track shown as one of the given identities.

    Both empty: every track of the session.
    """

    tracks: Annotated[tuple[Counter, ...], Meta(max_length=limits.MAX_TRACKS)] = ()
    identities: Annotated[tuple[IdentityId, ...], Meta(max_length=limits.MAX_TRACKS)] = ()
    reason: Text = ""


# --- what a node tells of itself ----------------------------------------------------------------


WebAddress = Annotated[
    str,
    Meta(
        max_length=limits.MAX_TEXT_CHARS,
        pattern=r"^(https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?)?$",
    ),
]
"""Host, port and path alone: it ends up in pages and their security policy."""
CameraState = Literal["opening", "live", "lost", "ended", "failed"]


class NodeReport(Message, frozen=True, kw_only=True, tag="node-report"):
    """How a node fares, in numbers: sent every two seconds and when the first three have changed.

    Answered by nothing. Which camera it is about is known from the key of the session. Never a picture,
    a name, or anything of a face.
    """

    camera: CameraState
    shown: Annotated[int, Meta(ge=0, le=limits.MAX_TRACKS)]
    """People in the newest picture..."""
    veiled: Annotated[int, Meta(ge=0, le=limits.MAX_TRACKS)]
    """... and faces without one."""
    fps: Annotated[float, Meta(ge=0.0, le=limits.MAX_FPS)]
    """Pictures that left the node, a second."""
    delay_p50_s: Seconds
    delay_p95_s: Seconds
    """From the capture of a picture to the end of its veiling."""
    fully_veiled: Unit
    """Share of the last pictures that were veiled in full."""
    viewers: Counter
    software: Text = ""
    address: WebAddress = ""
    """Where browsers find the node; empty where it serves no page."""


# --- people (role admin) ----------------------------------------------------------------------


class Photo(Struct, frozen=True, kw_only=True):
    """One face crop of an enrolment; its JPEG is the binary part of the same index."""

    landmarks: Landmarks
    quality: Unit
    source: Text
    """Where it came from, for people to read: a file name without its folder."""


class AddPerson(Message, frozen=True, kw_only=True, tag="add-person", omit_defaults=True):
    """Enrol photos under a name: a new person with a consent, or more photos of a known one."""

    seq: Counter
    name: Name
    photos: Annotated[tuple[Photo, ...], Meta(min_length=1, max_length=limits.MAX_PHOTOS)]
    cameras: Cameras = ()
    consent_until: EpochSeconds | None = None
    note: Text = ""
    keep_photos: bool = False
    """The crops are kept as well, encrypted like the templates."""


class ListPeople(Message, frozen=True, kw_only=True, tag="list-people"):
    """Ask for one page of the people, in order of their names, after `after`."""

    seq: Counter
    after: Text = ""


class ShowPerson(Message, frozen=True, kw_only=True, tag="show-person"):
    seq: Counter
    name: Name


class RemovePerson(Message, frozen=True, kw_only=True, tag="remove-person"):
    seq: Counter
    name: Name


class GrantConsent(Message, frozen=True, kw_only=True, tag="grant-consent"):
    """Replaces a live consent of the person, if there is one."""

    seq: Counter
    name: Name
    cameras: Cameras = ()
    until: EpochSeconds | None = None
    note: Text = ""


class WithdrawConsent(Message, frozen=True, kw_only=True, tag="withdraw-consent"):
    seq: Counter
    name: Name


class Consent(Struct, frozen=True, kw_only=True):
    id: Text
    granted_at: EpochSeconds
    until: EpochSeconds | None
    withdrawn_at: EpochSeconds | None
    cameras: Cameras
    note: Text


class Template(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Provenance of one kept embedding; the embedding itself never leaves the hub."""

    model_id: Text
    source: Text
    quality: Unit
    added_at: EpochSeconds
    photo_kept: bool = False
    """The crop it was made of is kept as well."""


class Person(Struct, frozen=True, kw_only=True):
    identity: IdentityId
    name: Name
    added_at: EpochSeconds
    consented: bool
    """A consent is live now, for at least one camera."""
    consents: Annotated[tuple[Consent, ...], Meta(max_length=limits.MAX_CONSENTS)]
    templates: Annotated[tuple[Template, ...], Meta(max_length=limits.MAX_TEMPLATES)]


class People(Message, frozen=True, kw_only=True, tag="people"):
    """The answer to every request of this section that was done: the people it was about.

    `more`: the list goes on after the last name.
    """

    seq: Counter
    people: Annotated[tuple[Person, ...], Meta(max_length=limits.MAX_PEOPLE_PER_PAGE)]
    gallery_version: Counter
    more: bool = False


# --- what a person may ask (role admin) ---------------------------------------------------------


class ExportPerson(Message, frozen=True, kw_only=True, tag="export-person"):
    """Ask for all that is kept about a person; for what is left of it by the digest of the first answer."""

    seq: Counter
    name: Name
    digest: Text = ""
    offset: Counter = 0


class ShowReceipt(Message, frozen=True, kw_only=True, tag="show-receipt"):
    """Ask for the signed receipt of an erasure."""

    seq: Counter
    identity: IdentityId


class Document(Message, frozen=True, kw_only=True, tag="document"):
    """A JSON text in ASCII, or a part of one: `pieces`, joined, begin at character `offset` of `total`.

    Pieces, because a header holds short texts only. `digest`: SHA-256 of the whole, in hexadecimal digits.
    """

    seq: Counter
    digest: Text
    total: Counter
    offset: Counter
    pieces: Annotated[tuple[Text, ...], Meta(max_length=limits.MAX_PIECES)]


# --- visitors (role admin) --------------------------------------------------------------------


class StartVisitors(Message, frozen=True, kw_only=True, tag="start-visitors"):
    """Group the unknown faces of one camera in memory for so long; the camera shows nobody meanwhile."""

    seq: Counter
    camera: Name
    duration_s: Annotated[float, Meta(ge=1.0, le=limits.MAX_GROUPING_S)]


class ListVisitors(Message, frozen=True, kw_only=True, tag="list-visitors"):
    seq: Counter


class StopVisitors(Message, frozen=True, kw_only=True, tag="stop-visitors"):
    """Forget every visitor now."""

    seq: Counter


class EnrolVisitor(Message, frozen=True, kw_only=True, tag="enrol-visitor"):
    """Enrol one of the visitors under a name, with a consent; answered by People."""

    seq: Counter
    visitor: Counter
    name: Name
    cameras: Cameras = ()
    consent_until: EpochSeconds | None = None
    note: Text = ""


class Visitor(Struct, frozen=True, kw_only=True):
    """Someone unknown who walked past while visitors were grouped."""

    id: Counter
    looks: Counter
    quality: Unit
    """Of the best look."""
    first_seen_s: Seconds
    """So long ago, as is `last_seen_s`."""
    last_seen_s: Seconds
    ready: bool
    """Enough good looks to enrol them."""


class Visitors(Message, frozen=True, kw_only=True, tag="visitors"):
    """The answer to the requests of this section but `EnrolVisitor`. `camera` is empty while none is on."""

    seq: Counter
    camera: Text = ""
    left_s: Seconds = 0.0
    visitors: Annotated[tuple[Visitor, ...], Meta(max_length=limits.MAX_VISITORS)] = ()


# --- evaluation (role admin) ------------------------------------------------------------------


class ShowLikeness(Message, frozen=True, kw_only=True, tag="show-likeness"):
    """Ask how alike the faces of some photos are to the hub's model. Nothing of them is kept."""

    seq: Counter
    photos: Annotated[tuple[Photo, ...], Meta(min_length=1, max_length=limits.MAX_PHOTOS)]


class Likeness(Message, frozen=True, kw_only=True, tag="likeness"):
    """The answer: a direction for each photo, and what the hub decides by now.

    `vectors`: rows of `dimension` float32, lowest byte first, turned by a rotation that only this session
    has: they can be compared among each other and with nothing else. The similarity of two photos is the
    product of their rows.
    """

    seq: Counter
    model_id: Text
    dimension: Annotated[int, Meta(ge=1, le=limits.MAX_DIMENSION)]
    vectors: Annotated[bytes, Meta(max_length=limits.MAX_VECTOR_BYTES)]
    threshold: Similarity
    """With one person enrolled..."""
    per_tenfold: Unit
    """... and how much it rises with each tenfold of them."""
    margin: Unit


class SetThreshold(Message, frozen=True, kw_only=True, tag="set-threshold"):
    """Decide by this threshold (with one person enrolled) and margin from the hub's next start on."""

    seq: Counter
    model_id: Text
    threshold: Similarity
    margin: Unit
    people_count: Counter
    photo_count: Counter
    data: Text
    """What it was measured on, for people to read."""


class Threshold(Message, frozen=True, kw_only=True, tag="threshold"):
    """The answer: what the hub has written down."""

    seq: Counter
    model_id: Text
    threshold: Similarity
    per_tenfold: Unit
    margin: Unit
    made_at: EpochSeconds


class Notice(Message, frozen=True, kw_only=True, tag="notice"):
    """The hub has something to tell the people before a camera: a sentence, or nothing any more."""

    text: Text = ""


AnyMessage = (
    Hello | Welcome | Heartbeat | Goodbye | Refusal
    | FaceQuery | FaceDecision | Revoke | NodeReport
    | AddPerson | ListPeople | ShowPerson | RemovePerson | GrantConsent | WithdrawConsent | People
    | ExportPerson | ShowReceipt | Document
    | StartVisitors | ListVisitors | StopVisitors | EnrolVisitor | Visitors | Notice
    | ShowLikeness | Likeness | SetThreshold | Threshold
)  # fmt: skip

Request = (
    FaceQuery | AddPerson | ListPeople | ShowPerson | RemovePerson | GrantConsent | WithdrawConsent
    | ExportPerson | ShowReceipt
    | StartVisitors | ListVisitors | StopVisitors | EnrolVisitor
    | ShowLikeness | SetThreshold
)  # fmt: skip
"""What a client asks with a `seq` of its own; answered by FaceDecision, People, Document, Visitors,
Likeness, Threshold or Refusal."""

CLIENT_MAY_SEND: dict[Role, tuple[type[Message], ...]] = {
    "node": (Hello, Heartbeat, Goodbye, FaceQuery, NodeReport),
    "admin": (
        Hello, Heartbeat, Goodbye,
        AddPerson, ListPeople, ShowPerson, RemovePerson, GrantConsent, WithdrawConsent,
        ExportPerson, ShowReceipt,
        StartVisitors, ListVisitors, StopVisitors, EnrolVisitor,
        ShowLikeness, SetThreshold,
    ),
}  # fmt: skip
HUB_MAY_SEND: dict[Role, tuple[type[Message], ...]] = {
    "node": (Welcome, Heartbeat, Goodbye, Refusal, FaceDecision, Revoke, Notice),
    "admin": (Welcome, Heartbeat, Goodbye, Refusal, People, Document, Visitors, Likeness, Threshold),
}


def clip(text: str) -> str:
    """A text for people, cut to what a message carries."""
    limit = limits.MAX_TEXT_CHARS
    return text if len(text) <= limit else text[: limit - 1] + "…"
