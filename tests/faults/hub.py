"""The simulated hub: the real hub session, a recognizer that knows the textures, and a liar inside.

Honest by default: it shows consenting people for a few seconds, and revokes when told to. Each lie can
be switched on for a span of time. Its lies are aimed at strangers, or at leases that have ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.messages import AnyMessage, FaceDecision, FaceQuery, Revoke
from protocol.session import HubFacts, HubSession, MessageReceived
from tests.faults.clock import Agenda
from tests.faults.link import Line, Parts
from tests.faults.world import Face, Scene, Span, World
from vision.crops import FaceCrop, cut_crop

LEASE_S = 3.0
ANSWER_S = (0.015, 0.06)
HELD, HELD_S = 4, 1.2
"""So many answers are held back for so long, where answers lose their order."""
SIDE = 12
"""Crops are compared at this size, where the fine noise is gone and the coarse pattern is left."""


class Recognizer:
    """Whom a crop shows, by correlation with everybody's texture."""

    def __init__(self, world: World) -> None:
        gray = [self._template(world, i) for i in range(len(world.people))]
        self._templates = np.stack(gray)

    def _template(self, world: World, index: int) -> NDArray[np.float32]:
        person = world.people[index]
        box = (100.0, 60.0, 100.0 + person.width, 60.0 + person.height)
        lone = Scene(0.0, 0, (Face(index, 0, box, 100, 60),))
        image, _ = world.paint(lone)
        return _signature(cut_crop(image, np.array(box, np.float32), np.zeros((5, 2), np.float32)))

    def who(self, crop: FaceCrop) -> int | None:
        """The person; None where the crop shows nobody clearly, or two at once."""
        likeness = self._templates @ _signature(crop)
        best, second = np.argsort(likeness)[::-1][:2]
        is_clear = likeness[best] > 0.6 and likeness[best] - likeness[second] > 0.25
        return int(best) if is_clear else None


def _signature(crop: FaceCrop) -> NDArray[np.float32]:
    middle = crop.image_rgb[32:192, 45:179, 1]
    small = cv2.resize(middle, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return np.asarray(small / max(1e-3, float(np.linalg.norm(small))), np.float32)


@dataclass(slots=True)
class HubFaults:
    dead: list[Span] = field(default_factory=list)
    """Killed, and restarted without a memory."""
    stopped: list[Span] = field(default_factory=list)
    """SIGSTOP: what arrives waits, and is dealt with afterwards."""
    slow: list[tuple[Span, float]] = field(default_factory=list)
    """Answers of this span take so many seconds longer, one by one; the rest goes on."""
    mute: list[Span] = field(default_factory=list)
    """Heartbeats but no answers."""
    wrong_track: list[Span] = field(default_factory=list)
    unasked: list[Span] = field(default_factory=list)
    replayed: list[Span] = field(default_factory=list)
    reordered: list[Span] = field(default_factory=list)
    inherited: list[Span] = field(default_factory=list)
    """Questions of an earlier session are answered in the present one."""
    contradicts: list[Span] = field(default_factory=list)
    """Says veil to people who consent."""
    lease_s: list[tuple[Span, float]] = field(default_factory=list)
    revoked: list[tuple[float, int | None]] = field(default_factory=list)
    """When whose consent is withdrawn; None: everyone's leases end, and may be given anew."""
    granted_again: list[tuple[float, int]] = field(default_factory=list)


class SimHub:
    """One hub with one node."""

    def __init__(
        self, agenda: Agenda, line: Line, rng: np.random.Generator, world: World, faults: HubFaults
    ) -> None:
        self._agenda = agenda
        self._line = line
        self._rng = rng
        self._world = world
        self._faults = faults
        self._session = self._new_session()
        self._waiting: list[Parts] = []
        self._withdrawn: set[int] = set()
        self._tracks: set[int] = set()
        self._said: list[FaceDecision] = []
        self._held: list[tuple[float, FaceDecision]] = []
        self.deliver_down: Callable[[Parts], None] = lambda parts: None
        self.who_asked: Callable[[int], int | None] = lambda seq: None
        for span in faults.dead:
            agenda.at(span.since, self._die)
        for span in faults.stopped:
            agenda.at(span.until, self._go_on)
        for at, person in faults.revoked:
            agenda.at(at, lambda person=person: self._revoke(person))  # type: ignore[misc]
        for at, person in faults.granted_again:
            agenda.at(at, lambda person=person: self._withdrawn.discard(person))  # type: ignore[misc]
        agenda.at(0.25, self._tick)

    def _new_session(self) -> HubSession:
        return HubSession("node", "door", lambda: HubFacts("texture", 1))

    def _is(self, spans: list[Span]) -> bool:
        now = self._agenda.monotonic()
        return any(now in span for span in spans)

    def _die(self) -> None:
        self._session = self._new_session()
        self._waiting.clear()
        self._line.connection += 1

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for parts in waiting:
            self.receive(parts)

    def receive(self, parts: Parts) -> None:
        """A message of the node arrives."""
        if self._is(self._faults.dead):
            return
        if self._is(self._faults.stopped):
            self._waiting.append(parts)
            return
        now = self._agenda.monotonic()
        for event in self._session.receive(parts, now):
            if isinstance(event, MessageReceived) and isinstance(event.message, FaceQuery):
                self._consider(event.message)
        self._flush()

    def _flush(self) -> None:
        for parts in self._session.take_outgoing():
            self._line.carry("down", parts, self.deliver_down)

    def _tick(self) -> None:
        now = self._agenda.monotonic()
        self._agenda.at(now + 0.25, self._tick)
        if self._is(self._faults.dead) or self._is(self._faults.stopped):
            return
        self._session.poll(now)
        if self._session.is_open:
            self._let_go(lambda since, held: now - since > HELD_S)
            self._lie()
        self._flush()

    def _send(self, message: AnyMessage) -> None:
        if self._session.is_open and message.session == self._session.session_id:
            self._session.send(message, (), self._agenda.monotonic())
            self._flush()

    # --- answers ----------------------------------------------------------------------------

    def _consider(self, query: FaceQuery) -> None:
        self._tracks.add(query.track)
        now = self._agenda.monotonic()
        slow_s = max((s for span, s in self._faults.slow if now in span), default=0.0)
        wait_s = float(self._rng.uniform(*ANSWER_S)) + slow_s
        self._agenda.at(now + wait_s, lambda: self._answer(query))

    def _answer(self, query: FaceQuery) -> None:
        if self._is(self._faults.dead) or self._is(self._faults.mute):
            return
        if self._is(self._faults.stopped):
            self._agenda.at(self._agenda.monotonic() + 0.05, lambda: self._answer(query))
            return
        if self._is(self._faults.inherited) and self._session.is_open:
            query = msgspec.structs.replace(query, session=self._session.session_id)
        decision = self._decide(query)
        if decision.reveal and self._is(self._faults.reordered) and len(self._held) < HELD:
            self._held.append((self._agenda.monotonic(), decision))  # overtaken by what is said meanwhile
            return
        if decision.reveal:
            self._said.append(decision)
        if not decision.reveal and self._is(self._faults.wrong_track):
            self._address_wrongly(decision)
            return
        self._send(decision)
        if not decision.reveal:
            self._let_go(lambda since, held: held.track == decision.track)

    def _let_go(self, which: Callable[[float, FaceDecision], bool]) -> None:
        going = [held for held in self._held if which(*held)]
        self._held = [held for held in self._held if held not in going]
        for _, decision in going:
            self._send(decision)

    def _decide(self, query: FaceQuery) -> FaceDecision:
        person = self.who_asked(query.seq)
        shows = person is not None and self._world.people[person].consents
        shows = shows and person not in self._withdrawn and not self._is(self._faults.contradicts)
        if not shows or person is None:
            return FaceDecision(
                session=query.session, seq=query.seq, track=query.track, reveal=False, lease_s=0.0
            )
        return self._reveal(query.session, query.seq, query.track, person)

    def _reveal(self, session: bytes, seq: int, track: int, person: int) -> FaceDecision:
        now = self._agenda.monotonic()
        lease_s = next((s for span, s in self._faults.lease_s if now in span), LEASE_S)
        who = self._world.people[person]
        return FaceDecision(
            session=session, seq=seq, track=track, reveal=True, lease_s=lease_s,
            identity=who.identity, name=who.name, similarity=0.9, margin=0.3,
        )  # fmt: skip

    def _revoke(self, person: int | None) -> None:
        if self._is(self._faults.dead) or self._is(self._faults.stopped) or not self._session.is_open:
            return
        if person is not None:
            self._withdrawn.add(person)
        identities = () if person is None else (self._world.people[person].identity,)
        self._send(Revoke(session=self._session.session_id, identities=identities))
        self._let_go(lambda since, held: True)

    # --- lies -------------------------------------------------------------------------------

    def _address_wrongly(self, honest: FaceDecision) -> None:
        """To a question about a stranger, the answer that belongs to someone who consents."""
        others = sorted(self._tracks - {honest.track}) or [honest.track + 1]
        track = int(others[int(self._rng.integers(len(others)))])
        self._send(self._reveal(honest.session, honest.seq, track, 0))

    def _lie(self) -> None:
        session = self._session.session_id
        if self._is(self._faults.replayed):
            for said in self._said[-12:]:
                self._send(
                    FaceDecision(
                        session=session, seq=said.seq, track=said.track, reveal=True, lease_s=said.lease_s,
                        identity=said.identity, name=said.name,
                    )
                )  # fmt: skip
        if self._is(self._faults.unasked):
            newest = max(self._tracks, default=1)
            for track in range(max(1, newest - 12), newest + 4):
                self._send(self._reveal(session, int(self._rng.integers(1, 2**40)), track, 0))
