"""From a node's question to its answer: through the batcher, the consents that hold, and the audit log.

Runs on the event loop, a batch's answers one after the other without a task for each: a task is made only
where an answer has to wait until it is recorded. Owned by `hub.service`, which knows what is permitted; the
answers go to `hub.server`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from hub.audit.desk import AuditDesk
from hub.batcher import Batcher, Shed, Waiting
from hub.errors import DeclinedError
from hub.policy import Verdict
from hub.recognizer import Look, RejectedLook
from hub.server import Told
from protocol.messages import FaceDecision, FaceQuery, clip

RETRY_AFTER_S = 0.5
"""A node that was refused for lack of room asks again after this."""


class QuestionDesk:
    """permitted: a verdict for a camera, or a veil where what it rests on has ended. oust: veil these tracks
    of a session now. counts: grows by what happens."""

    def __init__(
        self,
        batcher: Batcher[Look, Any, Any, Verdict | RejectedLook],
        audit: AuditDesk,
        mode_of: Callable[[str], str],
        permitted: Callable[[Verdict, str], Verdict],
        oust: Callable[[bytes, tuple[int, ...]], None],
        counts: Counter[str],
    ) -> None:
        self._batcher = batcher
        self._audit = audit
        self._mode_of = mode_of
        self._permitted = permitted
        self._oust = oust
        self._counts = counts

    def ask(self, camera: str, query: FaceQuery, crop: bytes, told: Told) -> Callable[[], None]:
        """See `hub.server.Handler.decide`."""
        look = Look(
            camera, query.session, query.track, crop, query.landmarks, query.quality, time.monotonic()
        )
        self._counts["questions"] += 1
        question = _Question(self, camera, query, told)
        question.waiting = self._batcher.put(look, query.session, question.judged)
        return question.give_up

    def settle(
        self, camera: str, query: FaceQuery, result: Verdict | RejectedLook | Exception
    ) -> FaceDecision | Coroutine[Any, Any, FaceDecision]:
        """The answer, or what waits until it may be given. Raises what came instead of a verdict."""
        if isinstance(result, Shed):
            self._counts["shed"] += 1
            raise DeclinedError("overloaded", str(result), retry_after_s=RETRY_AFTER_S) from result
        if isinstance(result, Exception):
            raise result
        if isinstance(result, RejectedLook):
            self._counts["rejected"] += 1
            raise DeclinedError("invalid", result.reason)
        if result.ousted:
            self._counts["ousted"] += len(result.ousted)
            self._oust(query.session, result.ousted)
        verdict = self._permitted(result, camera)
        recorded = self._audit.take(camera, self._mode_of(camera), query.session, query.track, verdict)
        if isinstance(recorded, Verdict):
            return self._answer(query, recorded)
        return self._when(recorded, camera, query)

    async def _when(
        self, recorded: Coroutine[Any, Any, Verdict], camera: str, query: FaceQuery
    ) -> FaceDecision:
        verdict = await recorded
        if verdict.reveal and not (last := self._permitted(verdict, camera)).reveal:
            self._audit.veiled(query.session, query.track, last.reason)
            verdict = last
        return self._answer(query, verdict)

    def _answer(self, query: FaceQuery, verdict: Verdict) -> FaceDecision:
        self._counts["reveals" if verdict.reveal else "veils"] += 1
        return FaceDecision(
            session=query.session,
            seq=query.seq,
            track=query.track,
            reveal=verdict.reveal,
            lease_s=verdict.lease_s,
            identity=verdict.identity,
            name=clip(verdict.name),
            similarity=verdict.similarity,
            margin=verdict.margin,
            reason=clip(verdict.reason),
        )


@dataclass(eq=False, slots=True)
class _Question:
    """One of them, on its way."""

    desk: QuestionDesk
    camera: str
    query: FaceQuery
    told: Told
    waiting: Waiting[Look, Verdict | RejectedLook] | None = None
    task: asyncio.Task[None] | None = None

    def give_up(self) -> None:
        if self.waiting is not None:
            self.waiting.give_up()
        if self.task is not None:
            self.task.cancel()

    def judged(self, result: Verdict | RejectedLook | Exception) -> None:
        try:
            answer = self.desk.settle(self.camera, self.query, result)
        except Exception as exc:  # noqa: BLE001 - told to whoever asked; the others of the batch go on
            self.told(exc)
            return
        if isinstance(answer, FaceDecision):
            self.told(answer)
        else:
            self.task = asyncio.create_task(self._finish(answer))

    async def _finish(self, answer: Coroutine[Any, Any, FaceDecision]) -> None:
        try:
            self.told(await answer)
        except Exception as exc:  # noqa: BLE001 - told to whoever asked
            self.told(exc)
