"""One example of every message, with its payloads. Golden bytes and round trips are made of these."""

from __future__ import annotations

from protocol.messages import (
    AddPerson,
    AnyMessage,
    Consent,
    Document,
    EnrolVisitor,
    ExportPerson,
    FaceDecision,
    FaceQuery,
    Goodbye,
    GrantConsent,
    Heartbeat,
    Hello,
    ListPeople,
    ListVisitors,
    Notice,
    People,
    Person,
    Photo,
    Refusal,
    RemovePerson,
    Revoke,
    ShowPerson,
    ShowReceipt,
    StartVisitors,
    StopVisitors,
    Template,
    Visitor,
    Visitors,
    Welcome,
    WithdrawConsent,
)

SESSION = bytes(range(16))
LANDMARKS = ((80.5, 90.0), (140.0, 91.5), (110.0, 125.0), (88.0, 160.0), (135.0, 161.0))
PHOTO = Photo(landmarks=LANDMARKS, quality=0.75, source="grace.jpg")
CONSENT = Consent(id="c1", granted_at=1.7e9, until=1.8e9, withdrawn_at=None, cameras=("door",), note="signed")
TEMPLATE = Template(model_id="dlib-resnet", source="grace.jpg", quality=0.75, added_at=1.7e9)
PERSON = Person(
    identity="p1",
    name="Grace Hopper",
    added_at=1.7e9,
    consented=True,
    consents=(CONSENT,),
    templates=(TEMPLATE,),
)

EXAMPLES: list[tuple[AnyMessage, tuple[bytes, ...]]] = [
    (Hello(session=SESSION, role="node", name="door", versions=(1,), software="0.1.0"), ()),
    (
        Welcome(
            session=SESSION,
            version=1,
            heartbeat_s=1.0,
            liveness=3,
            model_id="dlib-resnet",
            gallery_version=7,
            mode="reveal-consented",
        ),
        (),
    ),
    (Heartbeat(session=SESSION), ()),
    (Goodbye(session=SESSION, reason="stopping"), ()),
    (
        Refusal(session=SESSION, code="overloaded", text="busy", seq=4, retry_after_s=0.5),
        (),
    ),
    (FaceQuery(session=SESSION, seq=4, track=9, landmarks=LANDMARKS, quality=0.75), (b"jpeg",)),
    (
        FaceDecision(
            session=SESSION,
            seq=4,
            track=9,
            reveal=True,
            lease_s=3.0,
            identity="p1",
            name="Grace Hopper",
            similarity=0.875,
            margin=0.25,
            reason="2 of 3 looks agree",
        ),
        (),
    ),
    (Revoke(session=SESSION, tracks=(9,), identities=("p1",), reason="consent withdrawn"), ()),
    (
        AddPerson(
            session=SESSION,
            seq=1,
            name="Grace Hopper",
            photos=(PHOTO, PHOTO),
            cameras=("door",),
            consent_until=1.8e9,
            note="signed",
        ),
        (b"one", b"two"),
    ),
    (ListPeople(session=SESSION, seq=2, after="Ada"), ()),
    (ShowPerson(session=SESSION, seq=3, name="Grace Hopper"), ()),
    (RemovePerson(session=SESSION, seq=4, name="Grace Hopper"), ()),
    (
        GrantConsent(
            session=SESSION,
            seq=5,
            name="Grace Hopper",
            cameras=("door", "hall"),
            until=None,
            note="by mail",
        ),
        (),
    ),
    (WithdrawConsent(session=SESSION, seq=6, name="Grace Hopper"), ()),
    (People(session=SESSION, seq=6, people=(PERSON,), gallery_version=8, more=True), ()),
    (ExportPerson(session=SESSION, seq=7, name="Grace Hopper", digest="d1", offset=4), ()),
    (ShowReceipt(session=SESSION, seq=8, identity="p1"), ()),
    (Document(session=SESSION, seq=8, digest="d1", total=7, offset=0, pieces=('{"a"', ":1}")), ()),
    (StartVisitors(session=SESSION, seq=8, camera="door", duration_s=300.0), ()),
    (ListVisitors(session=SESSION, seq=9), ()),
    (StopVisitors(session=SESSION, seq=10), ()),
    (
        EnrolVisitor(
            session=SESSION,
            seq=11,
            visitor=2,
            name="Grace Hopper",
            cameras=("door",),
            consent_until=1.8e9,
            note="signed",
        ),
        (),
    ),
    (
        Visitors(
            session=SESSION,
            seq=9,
            camera="door",
            left_s=120.0,
            visitors=(Visitor(id=2, looks=5, quality=0.75, first_seen_s=20.0, last_seen_s=2.0, ready=True),),
        ),
        (),
    ),
    (Notice(session=SESSION, text="Visitors are being grouped until 14:05."), ()),
]
