"""The hub: its parts built in the order of the data, and the questions of nodes answered.

Owns who is connected and the current `Live` (who may be shown where). When a consent ends, by an admin
or by its date, nodes are told at once; answers on their way are checked against the same `Live`, so that
none of them shows someone after that. Called by `hub.__main__`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from hub.audit.desk import AuditDesk
from hub.audit.files import AuditFiles
from hub.audit.log import AuditLog
from hub.audit.shown import ShownInLog
from hub.batcher import Batcher
from hub.calibration import in_force
from hub.config import HubSettings
from hub.embedding.choose import open_embedder
from hub.embedding.port import Embedder, ModelManifest
from hub.evaluation import EvaluationDesk, EvaluationRequest
from hub.evidence import EvidenceSettings
from hub.gallery import Gallery
from hub.live import Live, ended
from hub.nodes import NodeBook, PaceBook
from hub.people import AdminRequest, PeopleDesk
from hub.policy import LiveConsent, PolicySettings, Verdict
from hub.questions import QuestionDesk
from hub.recognizer import Look, Recognizer, RejectedLook
from hub.server import Server, Told
from hub.signing import load_or_create
from hub.store.alone import OwnedStore
from hub.store.errors import StoreError
from hub.store.people import PeopleStore
from hub.subjects import Proofs, SubjectRequest
from hub.visitor_desk import VisitorDesk, VisitorRequest
from hub.visitors import VisitorBook
from hub.web.ports import PagePorts
from protocol import limits
from protocol.keys import KeyPair, Peer
from protocol.messages import AnyMessage, FaceQuery, NodeReport, Notice, Request, Revoke
from protocol.session import HubFacts

log = logging.getLogger(__name__)

WATCH_EVERY_S = 0.25
"""How soon the end of a consent is noticed."""
REPORT_EVERY_S = 1.0


def open_hub(settings: HubSettings, keys: KeyPair, wall: Callable[[], float] = time.time) -> Hub:
    """Open store and model. Raises StoreError, ModelError."""
    store = OwnedStore(settings.files.people, os.environ)
    chosen = settings.recognition
    embedder = open_embedder(chosen.model, "auto", chosen.threads, chosen.precision, chosen.device)
    return Hub(settings, keys, store, embedder, wall)


class Hub:
    """From `start` to `stop` in one event loop. `wall` gives UTC epoch seconds."""

    def __init__(
        self,
        settings: HubSettings,
        keys: KeyPair,
        store: PeopleStore,
        embedder: Embedder,
        wall: Callable[[], float],
    ) -> None:
        """Loads the people, opens the audit log. Raises StoreError, SecretFileError, AuditError."""
        self._settings = settings
        self._wall = wall
        self._store = store
        self._manifest, calibration = in_force(embedder.manifest, settings.files.calibration)
        if calibration:
            log.info("%s", calibration)
        gallery, consents = self._load()
        self._live = _live(gallery, consents)
        self._is_stale = False
        visitors = VisitorBook(self._manifest.dimension, self._manifest.threshold)
        self._recognizer = Recognizer(
            embedder,
            gallery,
            consents,
            EvidenceSettings(
                self._manifest.threshold,
                self._manifest.margin,
                k=settings.decisions.looks_needed,
                n=settings.decisions.looks_kept,
                per_tenfold=self._manifest.per_tenfold,
            ),
            PolicySettings(settings.cameras.default_mode, settings.cameras.modes, settings.decisions.lease_s),
            wall,
            visitors,
        )
        recognition = settings.recognition
        waiting = max(recognition.max_batch, recognition.max_waiting)
        self._batcher: Batcher[Look, Any, Any, Verdict | RejectedLook] = Batcher(
            self._recognizer, recognition.max_batch, recognition.max_age_ms / 1_000, waiting,
            self._recognizer.lanes, os.cpu_count() or 1,
        )  # fmt: skip
        signer = load_or_create(settings.files.signing_key)
        self._desk = PeopleDesk(
            store, self._recognizer, self._manifest, self._in_inference, self._people_changed, wall,
            Proofs(signer, ShownInLog(settings.files.folder, signer.public_key())),
        )  # fmt: skip
        self._visitors = VisitorDesk(
            visitors, self._desk, self._in_inference, lambda c: c in self._nodes.values(), self._notify, wall
        )
        self._evaluation = EvaluationDesk(
            self._recognizer, self._manifest, self._in_inference, settings.files.calibration, wall
        )
        self._public_key, self._hub_key = signer.public_key(), keys.public.decode()
        self._started = time.monotonic()
        self._server = Server(settings.for_server, keys, settings.files.allow_list, self)
        self._nodes: dict[bytes, str] = {}
        self.nodes, self.pace = NodeBook(), PaceBook()
        self._counts: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Task[object]] = set()
        self._reading = asyncio.Lock()
        audit_log = AuditLog(settings.files.folder, signer, wall())
        self._audit = AuditDesk(audit_log, wall, settings.audit.keep_days)
        self._questions = QuestionDesk(
            self._batcher, self._audit, settings.cameras.mode_of, self._permitted, self._oust, self._counts
        )

    # --- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises StartError."""
        self._audit.start(**_audited(self._settings, self._manifest))
        self._batcher.start()
        await self._server.start()
        self._tasks = [
            asyncio.create_task(self._server.run(), name="hub-server"),
            asyncio.create_task(self._watch(), name="hub-watch"),
            asyncio.create_task(self._report(), name="hub-report"),
        ]
        others = await self._desk.in_store(self._store.count_other_models, self._manifest.model_id)
        if others:
            log.warning(
                "%d people were enrolled with another model than %s and stay veiled: enrol them again",
                others,
                self._manifest.model_id,
            )

    async def run(self) -> None:
        """Wait; raises what ended a part of the hub (a mistake in this program)."""
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        """Say goodbye, finish what changes people, close the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.stop()
        await self._visitors.close()
        await self._batcher.close()
        await self._desk.close()
        await self._audit.close()
        self._store.close()

    @property
    def address(self) -> str:
        """Where the hub listens, with the port in place of a wildcard."""
        return self._server.address

    @property
    def summary(self) -> str:
        """Model and gallery in a few words, without names."""
        count = len(self._live.identities)
        people = "person" if count == 1 else "people"
        return f"model {self._manifest.model_id} gallery {count} {people}"

    @property
    def audit(self) -> AuditDesk:
        """For other parts that do what must be recorded."""
        return self._audit

    @property
    def let_in(self) -> frozenset[Peer]:
        """Whose keys may connect."""
        return self._server.let_in

    # --- the server's handler -----------------------------------------------------------------

    def facts(self, peer: Peer) -> HubFacts:
        mode = self._settings.cameras.mode_of(peer.name) if peer.role == "node" else ""
        return HubFacts(self._manifest.model_id, self._live.gallery_version, mode)

    def opened(self, peer: Peer, session: bytes) -> None:
        if peer.role == "node":
            self._nodes[session] = peer.name
            self.nodes.opened(peer.name, session, time.monotonic())
            if words := self._visitors.words(peer.name):
                self._server.push(session, Notice(session=session, text=words))

    def lost(self, peer: Peer, session: bytes) -> None:
        if self._nodes.pop(session, None) is None:
            return
        self.nodes.lost(peer.name, session, time.monotonic())
        self._audit.lost(session)
        task = asyncio.create_task(
            self._in_inference(lambda: self._recognizer.forget_session(peer.name, session))
        )
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def reported(self, peer: Peer, session: bytes, report: NodeReport) -> None:
        self.nodes.reported(peer.name, session, report, time.monotonic())

    def decide(self, peer: Peer, query: FaceQuery, crop: bytes, told: Told) -> Callable[[], None]:
        return self._questions.ask(peer.name, query, crop, told)

    async def answer(self, peer: Peer, request: Request, payloads: Sequence[bytes]) -> AnyMessage:
        """People and other things for an admin. Raises DeclinedError."""
        assert not isinstance(request, FaceQuery), "those are decided"
        return await self._audit.act(peer, request, lambda: self._serve_admin(request, payloads))

    async def _serve_admin(
        self,
        request: VisitorRequest | SubjectRequest | EvaluationRequest | AdminRequest,
        payloads: Sequence[bytes],
    ) -> AnyMessage:
        if isinstance(request, EvaluationRequest):
            return await self._evaluation.answer(request, payloads)
        if isinstance(request, VisitorRequest):
            return await self._visitors.answer(request)
        if isinstance(request, SubjectRequest):
            return await self._desk.tell(request)
        return await self._desk.answer(request, payloads)

    def _oust(self, session: bytes, tracks: tuple[int, ...]) -> None:
        """Have tracks veiled that were shown as someone who another face is."""
        reason = "another face is this person"
        self._server.push(session, Revoke(session=session, tracks=tracks, reason=reason))
        self._audit.revoked(session, tracks=tracks, cause=reason)

    def _permitted(self, verdict: Verdict, camera: str) -> Verdict:
        """The verdict, or a veil where what it rests on has ended while it was computed or recorded."""
        if verdict.reveal and self._visitors.words(camera):
            return Verdict.veil("visitors are being grouped here")
        if verdict.reveal and not self._still_permits(verdict, camera):
            return Verdict.veil("no live consent")  # the node has been told already
        return verdict

    def _still_permits(self, verdict: Verdict, camera: str) -> bool:
        if not verdict.identity:
            # Shown for being nobody on the list: holds as long as the list is the one compared with.
            version = self._recognizer.gallery.version
            return not self._is_stale and version == self._live.gallery_version
        return self._live.permits_at(self._wall(), verdict.identity, camera)

    def for_pages(self) -> PagePorts:
        """What the web pages may ask."""
        files = self._settings.files
        return PagePorts(
            ask=self.answer, nodes=self.nodes, pace=self.pace, live=lambda: self._live,
            shown=self._audit.shown, names=self._names, notice=self._visitors.words,
            mode_of=self._settings.cameras.mode_of, manifest=self._manifest,
            audit_files=AuditFiles(files.folder), public_key=self._public_key,
            hub_key=self._hub_key, address=lambda: self.address, clock=time.monotonic,
            started=self._started,
        )  # fmt: skip

    async def _names(self) -> dict[str, str]:
        """Names by identity, of everyone enrolled. Raises StoreError."""
        return await self._desk.in_store(self._store.names)

    # --- people and consents --------------------------------------------------------------------

    async def _people_changed(self) -> int:
        """Make what the store holds now hold everywhere; the version of the gallery.

        Raises StoreError where the store cannot be read: then nobody is shown until it can.
        """
        async with self._reading:  # a later reading must not be overtaken by an earlier one
            try:
                gallery, consents = await self._desk.in_store(self._load)
            except StoreError:
                self._is_stale = True
                self._become(Live(self._live.gallery_version))
                raise
            self._is_stale = False
            # Nodes first: the inference thread may be busy with a batch.
            self._become(_live(gallery, consents))
            await self._in_inference(lambda: self._recognizer.replace_gallery(gallery, consents))
            return gallery.version

    def _become(self, live: Live) -> None:
        """Replace what holds, and tell every node whom it may no longer show."""
        before, self._live = self._live, live
        is_list_changed = before.identities != live.identities
        for session, camera in list(self._nodes.items()):
            mode = self._settings.cameras.mode_of(camera)
            if mode == "veil-protected" and is_list_changed:
                self._revoke(session, ())
            elif mode == "reveal-consented":
                gone = ended(before, live, camera)
                for at in range(0, len(gone), limits.MAX_TRACKS):
                    self._revoke(session, gone[at : at + limits.MAX_TRACKS])

    def _notify(self, camera: str, text: str) -> None:
        """Put a text on the page of a camera; where there is one, nobody is shown from now on."""
        if not text:
            self._audit.note("hub", "forget-visitors", camera=camera)
        for session, name in list(self._nodes.items()):
            if name == camera:
                if text:
                    self._revoke(session, ())
                self._server.push(session, Notice(session=session, text=text))

    def _revoke(self, session: bytes, identities: tuple[str, ...]) -> None:
        self._counts["revocations"] += 1
        revoke = Revoke(session=session, identities=identities, reason="consent ended")
        # Where it cannot be sent the server ends the session, and the node veils everyone.
        self._server.push(session, revoke)
        self._audit.revoked(session, identities=identities)

    async def _watch(self) -> None:
        """End consents on their date; read the store again where that has failed."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            await self._visitors.poll()
            self._audit.tick()
            self._audit.keys(self._server.let_in)
            wall = self._wall()
            if wall >= self._live.next_expiry():
                self._become(self._live.at(wall))
            if self._is_stale:
                try:
                    await self._people_changed()
                except StoreError as exc:
                    log.error("nobody is shown: %s", exc)

    def _load(self) -> tuple[Gallery, dict[str, LiveConsent]]:
        manifest = self._manifest
        return self._store.load(manifest.model_id, manifest.dimension, self._wall())

    async def _in_inference(self, function: Callable[[], object]) -> object:
        """Run a function in the thread that owns what the recognizer knows."""
        return await self._batcher.call(function)

    async def _report(self) -> None:
        """One line a second of what has happened, if anything has."""
        last: Counter[str] = Counter()
        while True:
            await asyncio.sleep(REPORT_EVERY_S)
            current = self._counts + Counter(self._server_counts())
            self.pace.count(self._counts, time.monotonic())
            news = current - last
            last = current
            if news:
                log.debug("%s", " ".join(f"{name}={n}" for name, n in sorted(news.items())))

    def _server_counts(self) -> dict[str, int]:
        counters = self._server.registry.counters
        return {
            "ignored": counters.ignored,
            "malformed": counters.malformed,
            "not_allowed": counters.not_allowed,
            "overloaded": self._server.shed,
            "unreachable": self._server.unreachable,
        }


def _audited(settings: HubSettings, manifest: ModelManifest) -> dict[str, object]:
    """Under what decisions are made, for the record of the hub's start."""
    cameras, decisions = settings.cameras, settings.decisions
    return {
        "model": manifest.model_id, "threshold": manifest.threshold, "margin": manifest.margin,
        "default_mode": cameras.default_mode, "modes": dict(cameras.modes),
        "looks_needed": decisions.looks_needed, "looks_kept": decisions.looks_kept,
        "lease_s": decisions.lease_s,
    }  # fmt: skip


def _live(gallery: Gallery, consents: dict[str, LiveConsent]) -> Live:
    return Live(gallery.version, gallery.identities, consents)


__all__ = ["AdminRequest", "Hub", "open_hub"]
