"""The audit log in the hub's event loop: what must be recorded before it happens, and after.

A reveal is granted and an act of an admin is done only once its record is on the disk; ends of reveals and
outcomes of acts are kept until they are. While nothing can be written nobody is shown, and it goes on by
itself. Owns the open reveals and the writer's thread. Called by `hub.service`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from hub.audit.acts import facts_of, is_reading, is_veiling, outcome_of
from hub.audit.errors import AuditError
from hub.audit.log import AuditLog, new_run
from hub.audit.reveals import Moment, Record, Reveals, Shown, end_record
from hub.errors import DeclinedError
from hub.policy import Verdict
from protocol.keys import Peer
from protocol.messages import Message

log = logging.getLogger(__name__)
R = TypeVar("R")

SLACK_S = 5.0
"""Leases may last so much longer without another write: larger writes more seldom, smaller tells more
exactly when a reveal ended at the latest if the hub is killed."""
RETRY_S = 1.0
MAX_GROUP = 64
"""Entries written together, all or nothing; small enough to fit where little space was freed."""
MAX_WAITING = 16_384
"""Entries that wait while nothing can be written: the ends of all open reveals, and many acts."""
RETAIN_EVERY_S = 3_600.0
DAY_S = 86_400.0
NOT_RECORDED = "the audit log cannot be written"


@dataclass(eq=False, slots=True)
class _Entry:
    records: list[Record]
    is_kept: bool
    """Stays until it is written; else it is given up where it cannot be."""
    done: asyncio.Future[None]


class AuditDesk:
    """From `start` to `close` in one event loop. `wall` gives UTC epoch seconds."""

    def __init__(
        self,
        audit: AuditLog,
        wall: Callable[[], float],
        keep_days: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = audit
        self._wall = wall
        self._clock = clock
        self._keep_s = keep_days * DAY_S
        self._run = new_run()
        self._reveals = Reveals(self._run)
        self._acts = 0
        self._queue: deque[_Entry] = deque()
        self._starting: dict[str, _Entry] = {}
        """Reveals whose start is on its way to the disk."""
        self._flushing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._let_in: frozenset[Peer] = frozenset()
        self._failure = ""
        self._refused = 0
        self._retry_at = self._retain_at = 0.0
        self._is_retaining = False

    # --- life ---------------------------------------------------------------------------------

    def start(self, **facts: object) -> None:
        """Record the hub's start with `facts`, and the ends of what a crash has left open."""
        at, found = self._moment(), self._log.recovered
        if found.torn_bytes:
            log.warning("the audit log ended in %d bytes that count for nothing", found.torn_bytes)
        self._keep([{"kind": "hub-start", "at": at.wall, **found.record, **facts}])
        for reveal in found.open_reveals:
            end = max(reveal["start"], found.horizon)
            self._keep(
                [end_record(reveal, reveal["start"], end, end, "hub went away", at.wall, is_bound=True)]
            )
        tip = self._log.tip
        log.info("audit log: %d records, head %s", tip.count, tip.hash)

    async def close(self) -> None:
        """End all reveals, write what waits, let go of the log."""
        at = self._moment()
        self._keep([*self._reveals.stopped(at), {"kind": "hub-stop", "at": at.wall}])
        self._flush()
        while self._flushing is not None:
            await self._flushing
        if self._queue:
            log.error(
                "%d audit records are lost: %s", sum(len(e.records) for e in self._queue), self._failure
            )
        await asyncio.to_thread(self._thread.shutdown)
        tip = self._log.tip
        log.info("audit log: %d records, head %s", tip.count, tip.hash)
        self._log.close()

    def tick(self) -> None:
        """Several times a second: leases that ran out, another attempt, old segments."""
        at = self._moment()
        self._keep(self._reveals.expired(at))
        if self._failure and at.now >= self._retry_at:
            self._retry_at = at.now + RETRY_S
            self._flush()
        latest = self._reveals.latest(at)
        if latest and latest > self._log.horizon - SLACK_S / 2 and not self._failure:
            self._put([], is_kept=False)  # ahead of time, so that no answer waits for it
        if self._keep_s and at.now >= self._retain_at:
            self._retain_at = at.now + RETAIN_EVERY_S
            self._is_retaining = True
            self._flush()

    # --- reveals ------------------------------------------------------------------------------

    async def decided(
        self, camera: str, mode: str, session: bytes, track: int, verdict: Verdict
    ) -> Verdict:  # fmt: skip
        """Record a decision before it is sent; a veil in its place where that is not possible."""
        found = self.take(camera, mode, session, track, verdict)
        return found if isinstance(found, Verdict) else await found

    def take(
        self, camera: str, mode: str, session: bytes, track: int, verdict: Verdict
    ) -> Verdict | Coroutine[Any, Any, Verdict]:
        """The same: at once where nothing has to reach the disk first, as it is with most decisions."""
        at, key = self._moment(), (session, track)
        if not verdict.reveal:
            self._keep(self._reveals.veiled(key, verdict.reason, at))
            return verdict
        if self._failure:
            return self._refuse(key, at)
        try:
            ended, began = self._reveals.granted(key, camera, mode, verdict, at)
        except ValueError:
            return Verdict.veil("too many faces are shown at once")
        self._keep(ended)
        reveal = self._reveals.reveal_of(key)
        entry = self._starting.get(reveal)
        if began:
            entry = self._starting[reveal] = self._put(began, is_kept=False)
            entry.done.add_done_callback(lambda _: self._starting.pop(reveal, None))
        elif entry is None and self._reveals.latest(at) > self._log.horizon:
            entry = self._put([], is_kept=False)
        return verdict if entry is None else self._after(entry, key, reveal, verdict, at)

    async def _after(
        self, entry: _Entry, key: tuple[bytes, int], reveal: str, verdict: Verdict, at: Moment
    ) -> Verdict:
        """What holds once the entry is on the disk."""
        try:
            await asyncio.shield(entry.done)  # others may wait for it as well
        except AuditError:
            return self._refuse(key, at)
        if self._reveals.reveal_of(key) != reveal:
            return Verdict.veil("revoked before it began")
        return verdict

    def veiled(self, session: bytes, track: int, cause: str) -> None:
        """The track is veiled after all."""
        self._keep(self._reveals.veiled((session, track), cause, self._moment()))

    def revoked(
        self,
        session: bytes,
        tracks: Iterable[int] = (),
        identities: Iterable[str] = (),
        cause: str = "revoked",
    ) -> None:
        """A Revoke was sent; naming neither, it is about the whole session."""
        self._keep(self._reveals.revoked(session, tracks, identities, cause, self._moment()))

    def lost(self, session: bytes) -> None:
        """A node's session is over."""
        self._keep(self._reveals.lost(session, self._moment()))

    def shown(self) -> list[Shown]:
        """Whom cameras may be showing at this moment."""
        return self._reveals.shown(self._clock())

    # --- acts ---------------------------------------------------------------------------------

    async def act(self, peer: Peer, request: Message, do: Callable[[], Awaitable[R]]) -> R:
        """Do what an admin asks for, recorded before (unless it only reads) and after.

        Raises DeclinedError where it cannot be recorded; what veils people is done all the same.
        """
        what = str(request.__struct_config__.tag)
        self._acts += 1
        named = {"act": f"{self._run}-a{self._acts}", "by": peer.name, "what": what}
        if self._failure and not is_veiling(what):
            raise DeclinedError("internal", f"it is not done because it cannot be recorded: {self._failure}")
        if not is_reading(what):
            asked = {"kind": "act-asked", "at": self._wall(), **named, **facts_of(request)}
            await self._written([asked], is_kept=is_veiling(what))
        result = "failed"
        outcome: Record = {}
        try:
            answer = await do()
            result, outcome = "done", outcome_of(request, answer)
        except DeclinedError as exc:
            result = f"declined: {exc.code}"
            raise
        finally:
            done = {
                "kind": "act",
                "at": self._wall(),
                **named,
                "result": result,
                **facts_of(request),
                **outcome,
            }
            await self._written([done], is_kept=True)
        return answer

    def keys(self, let_in: frozenset[Peer]) -> None:
        """Whose keys are let in; what differs from the last time is recorded. To be called often."""
        if let_in == self._let_in:
            return
        before, self._let_in = self._let_in, let_in
        for what, peers in (("let-in", let_in - before), ("shut-out", before - let_in)):
            for peer in sorted(peers, key=lambda p: (p.role, p.name)):
                self.note("hub", what, role=peer.role, name=peer.name)

    def note(self, by: str, what: str, **facts: object) -> None:
        """Record an act that has happened: one of the hub itself (by "hub"), or of a part that calls this.

        `facts` are plain JSON values: never a name of a person, a note, or anything of a face.
        """
        self._keep([{"kind": "act", "at": self._wall(), "by": by, "what": what, "result": "done", **facts}])

    async def recorded(self, by: str, what: str, **facts: object) -> None:
        """The same as `note`, and return once it is on the disk. Raises DeclinedError where it is not."""
        done = {"kind": "act", "at": self._wall(), "by": by, "what": what, "result": "done", **facts}
        await self._written([done], is_kept=False)

    # --- writing ------------------------------------------------------------------------------

    def _moment(self) -> Moment:
        return Moment(self._clock(), self._wall())

    def _refuse(self, key: tuple[bytes, int], at: Moment) -> Verdict:
        self._refused += 1
        self._keep(self._reveals.veiled(key, NOT_RECORDED, at))
        return Verdict.veil(NOT_RECORDED)

    async def _written(self, records: Sequence[Record], *, is_kept: bool) -> None:
        try:
            await asyncio.shield(self._put(records, is_kept=is_kept).done)
        except AuditError as exc:
            if not is_kept:
                raise DeclinedError(
                    "internal", f"it is not done because it cannot be recorded: {exc}"
                ) from exc

    def _keep(self, records: Sequence[Record]) -> None:
        if records:
            self._put(records, is_kept=True)

    def _put(self, records: Sequence[Record], *, is_kept: bool) -> _Entry:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_heard)
        entry = _Entry(list(records), is_kept, done)
        self._queue.append(entry)
        while len(self._queue) > MAX_WAITING:
            self._give_up([self._queue.popleft()], AuditError("too much waits to be recorded"))
        if not self._failure:
            self._flush()
        elif is_kept:
            _settle(entry, AuditError(self._failure))  # whoever waits hears that it will be later
        return entry

    def _flush(self) -> None:
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._work(), name="audit-flush")

    async def _work(self) -> None:
        try:
            is_first = True
            while self._queue or is_first:
                is_first = False
                if not await self._write_group([self._queue.popleft() for _ in range(self._group_size())]):
                    break
        finally:
            self._flushing = None

    def _group_size(self) -> int:
        return min(len(self._queue), MAX_GROUP)

    async def _write_group(self, group: list[_Entry]) -> bool:
        at = self._moment()
        records = [record for entry in group for record in entry.records]
        if self._failure:  # writing this shows whether it goes again
            records = [*records, {"kind": "recovered", "at": at.wall, "reveals_refused": self._refused}]
        latest = self._reveals.latest(at)
        loop = asyncio.get_running_loop()
        try:
            horizon = latest + SLACK_S if latest else 0.0
            await loop.run_in_executor(self._thread, self._log.append, records, at.wall, horizon)
            if self._is_retaining:
                self._is_retaining = False
                await self._retain(at)
        except AuditError as exc:
            self._fail(exc, group)
            return False
        except Exception as exc:  # noqa: BLE001 - whoever waits must hear, and nobody be shown
            self._fail(AuditError(f"the audit log failed ({type(exc).__name__})"), group)
            return False
        for entry in group:
            _settle(entry, None)
        if self._failure:
            log.warning("the audit log is written again; %d reveals were not granted", self._refused)
            self._failure, self._refused = "", 0
        return True

    async def _retain(self, at: Moment) -> None:
        before = at.wall - self._keep_s
        loop = asyncio.get_running_loop()
        dropped = await loop.run_in_executor(self._thread, self._log.retain, before, at.wall)
        if dropped:
            log.info("%d audit records were older than audit.keep_days: dropped", dropped)

    def _fail(self, exc: AuditError, group: Sequence[_Entry]) -> None:
        if not self._failure:
            log.error("nobody is shown and nobody enrolled: %s; free some space, it goes on by itself", exc)
        self._failure = str(exc)
        self._retry_at = self._clock() + RETRY_S
        waiting = [*group, *self._queue]
        self._queue = deque(entry for entry in waiting if entry.is_kept)
        self._give_up([entry for entry in waiting if not entry.is_kept], exc)
        for entry in self._queue:
            _settle(entry, exc)  # whoever waits hears that it will be later

    def _give_up(self, entries: Sequence[_Entry], exc: AuditError) -> None:
        """These are not written. A reveal without a start was not granted, and has no end."""
        reveals = {r["reveal"] for e in entries for r in e.records if r["kind"] == "reveal-start"}
        for reveal in reveals:
            self._reveals.forget(reveal)
        for entry in self._queue if reveals else ():
            entry.records = [r for r in entry.records if r.get("reveal") not in reveals]
        for entry in entries:
            _settle(entry, exc)


def _settle(entry: _Entry, exc: AuditError | None) -> None:
    if entry.done.done():
        return
    if exc is None:
        entry.done.set_result(None)
    else:
        entry.done.set_exception(exc)


def _heard(done: asyncio.Future[None]) -> None:
    """Most entries have nobody who waits: their failure is told once, by `_fail`."""
    with suppress(asyncio.CancelledError):
        done.exception()
