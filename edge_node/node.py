"""The node's wiring: parts built in the order of the data, stopped in reverse. No logic.

Called by `edge_node.__main__`. See docs/architecture.md for the threads.
"""

from __future__ import annotations

import asyncio
import logging
import time

from edge_node import memory
from edge_node.analysis import AnalysisSettings, Analyzer
from edge_node.bridge import LoopCaller, Worker, take_short_turns
from edge_node.capture.grabber import Grabber, SourceState
from edge_node.capture.opening import open_source
from edge_node.capture.source import FrameSource, SourceOptions
from edge_node.config import NodeSettings
from edge_node.errors import StartError
from edge_node.frames import FrameSink, RawFrame
from edge_node.hub_link import HubLink
from edge_node.liveness.watch import LivenessWatch
from edge_node.metrics import Metrics
from edge_node.outputs import OutputPorts, Outputs
from edge_node.pipeline import AnalysisStage, ReleaseStage, SourceBack, SourceGone
from edge_node.privacy.release import ReleaseBuffer
from edge_node.privacy.timeline import Timeline, TimelineSettings
from edge_node.privacy.veil import Style, VeilSettings
from edge_node.reporting import FrameTally, Reporter
from edge_node.status import NodeStatus
from edge_node.stream.guard import open_guard
from edge_node.stream.mjpeg import MjpegSink
from edge_node.stream.state import LinkState
from edge_node.stream.web import WebPorts, WebServer
from edge_node.stream.webrtc import WebRtcSink
from edge_node.tracking.sampling import Sampler
from edge_node.tracking.tracker import Tracker, TrackerSettings
from vision.centerface import CenterFace, CenterFaceSettings
from vision.crops import encode_look
from vision.detections import FaceFinder
from vision.detector import Mtcnn, MtcnnSettings
from vision.errors import ModelError

log = logging.getLogger(__name__)

SCAN_SIDE_PX = 1280
"""MTCNN searches larger pictures at this size; the veil-only detector does so anyway."""
PREPARE_S = 30.0
"""Compiling the networks for a picture size takes seconds, once."""
HUB_WAIT_S = 10.0
"""A file that is streamed once waits this long for the hub before its first frame."""


class Node:
    """One camera, one hub, some sinks."""

    def __init__(self, settings: NodeSettings, loop: asyncio.AbstractEventLoop) -> None:
        """Load models and keys and open outputs. Raises NodeError, VisionError, KeyFileError."""
        self._settings = settings
        self._ended = asyncio.Event()
        self._failure: str | None = None
        self._threads = LoopCaller(loop)
        self.metrics = Metrics()
        self._hub = HubLink(settings.hub, settings.name, self.metrics)
        self.status = NodeStatus(settings.name, self.metrics, lambda: self._hub.state, time.monotonic())
        self.mjpeg = MjpegSink()
        has_live = settings.web.enabled or settings.publish.url != ""
        self.webrtc = WebRtcSink(self._threads) if has_live else None
        self._tally = FrameTally()
        self._outputs = Outputs(settings, self._output_ports())
        self._release = self._make_release()
        self._analysis = self._make_analysis()
        self._grabber = Grabber(
            self._open_source,
            on_frame=self._on_frame,
            on_state=self._on_source_state,
        )
        self._workers = [
            Worker("release", self._release.step, self._release.faulted),
            Worker("analysis", self._analysis.step, self._analysis.faulted),
        ]
        self._web = self._make_web() if settings.web.enabled else None
        self._reporter = Reporter(
            self._tally, self.status.state, self._viewers, self._web_address, self._hub.report
        )

    async def run(self) -> None:
        """Stream until cancelled, or until a source that is streamed once has ended.

        Raises StartError if a part cannot start or the recording failed.
        """
        take_short_turns()
        hub = asyncio.create_task(self._hub.run(), name="hub")
        reporter = asyncio.create_task(self._report(), name="report")
        telling = asyncio.create_task(self._reporter.run(), name="tell-hub")
        outputs = asyncio.create_task(self._outputs.run(), name="outputs")
        ended = asyncio.create_task(self._ended.wait(), name="ended")
        try:
            if self._web is not None:
                await self._web.start()
                log.info("live page at %s", self._web.url)
            if self._settings.source.once:
                await self._hub.wait_open(HUB_WAIT_S)
            for worker in self._workers:
                worker.start()
            self._grabber.start()
            # None of them ends by itself: one that did has failed, and raises here.
            tasks = (ended, reporter, telling, hub, outputs)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._grabber.stop()
            for worker in reversed(self._workers):
                worker.stop()
            for sink in self._sinks():
                sink.close()
            self._failure = self._failure or self._outputs.check_recording()
            if self._web is not None:
                await self._web.stop()
            for task in (outputs, reporter, telling, hub, ended):
                task.cancel()
            await asyncio.gather(outputs, reporter, telling, hub, ended, return_exceptions=True)
        if self._failure is not None:
            raise StartError(self._failure)

    # --- parts ------------------------------------------------------------------------------

    def _make_web(self) -> WebServer:
        web = self._settings.web
        ports = WebPorts(
            self.status.state, self.status.health, self.mjpeg, self.metrics.registry, self.webrtc
        )
        guard = open_guard(
            self._settings.name, web.ticket_key, web.hub_origin, has_captions=self._settings.veil.captions
        )
        return WebServer(ports, web.host, web.port, web.tls_cert, web.tls_key, guard)

    def _viewers(self) -> int:
        return self.mjpeg.viewers + (self.webrtc.viewers if self.webrtc is not None else 0)

    def _web_address(self) -> str:
        """Where browsers find this node."""
        return "" if self._web is None else self._settings.web.public_url or self._web.public_url

    def _output_ports(self) -> OutputPorts:
        return OutputPorts(
            nominal_fps=self._nominal_fps,
            camera_up=lambda: self.status.camera.state == "live",
            hub_up=lambda: self._hub.state is not None and self._hub.state.connected,
            on_failure=self._fail_soon,
            call=self._threads.call,
            registry=self.metrics.registry,
            live=self.webrtc,
        )

    def _nominal_fps(self) -> float:
        info = self._grabber.info
        return info.fps if info is not None else 0.0

    def _sinks(self) -> list[FrameSink]:
        sinks = (self._tally, self.mjpeg, self.webrtc, *self._outputs.sinks())
        return [sink for sink in sinks if sink is not None]

    def _make_release(self) -> ReleaseStage:
        release, veil, track = self._settings.release, self._settings.veil, self._settings.track
        return ReleaseStage(
            ReleaseBuffer(release.of_buffer()),
            Timeline(
                TimelineSettings(backfill_s=track.backfill_ms / 1000, max_gap_s=release.max_gap_ms / 1000)
            ),
            lambda: self._hub.leases,
            VeilSettings(Style(veil.style), veil.growth, veil.captions, allow_weak=veil.allow_weak),
            self._sinks(),
            self.metrics,
            on_drained=lambda: self._threads.call(self._ended.set),
            # A file that is streamed once keeps every frame: its recording must have its timing.
            keeps_all=self._settings.source.once,
        )

    def _make_analysis(self) -> AnalysisStage:
        detect = self._settings.detect
        detector = Mtcnn(
            MtcnnSettings(
                min_face_px=detect.min_face_px, onet_score=detect.min_score, exact=False,
                scan_side_px=SCAN_SIDE_PX,
                runtime=detect.runtime, threads=detect.threads,
            )
        )  # fmt: skip
        tracker = Tracker(
            TrackerSettings(
                min_score=detect.min_score, trust_score=detect.trust_score,
                coast_s=self._settings.track.coast_ms / 1000,
            )
        )  # fmt: skip
        settings = AnalysisSettings(
            scan_every_s=detect.scan_every_ms / 1000, scan_still_s=detect.scan_still_ms / 1000
        )
        return AnalysisStage(
            Analyzer(detector, tracker, settings, self._make_finder(), liveness=self._make_liveness()),
            Sampler(),
            lambda: self._hub.leases,
            on_analysis=self._release.mailbox.put,
            on_look=lambda look: self._threads.call(self._hub.ask, look, encode_look(look.crop)),
            metrics=self.metrics,
        )

    def _make_liveness(self) -> LivenessWatch | None:
        """Without a hub nobody is shown, so nobody needs to be watched."""
        liveness = self._settings.liveness
        is_needed = liveness.enabled and self._settings.hub.enabled
        return LivenessWatch(liveness.limit) if is_needed else None

    def _make_finder(self) -> FaceFinder | None:
        detect = self._settings.detect
        if detect.veil_detector == "off":
            return None
        try:
            return CenterFace(
                CenterFaceSettings(detect.veil_width_px, runtime=detect.runtime, threads=detect.threads)
            )
        except ModelError as exc:
            if detect.veil_detector == "centerface":
                raise
            log.warning("no veil-only detector, side views are missed more often: %s", exc)
            return None

    # --- capture thread ---------------------------------------------------------------------

    def _open_source(self) -> FrameSource:
        source = self._settings.source
        opened = open_source(
            source.spec,
            SourceOptions(
                loop=not source.once, width=source.width, height=source.height, fps=source.fps,
                rtsp_transport=source.transport, rotate=source.rotate,
            ),
        )  # fmt: skip
        self._analysis.prepare(opened.info.width, opened.info.height, PREPARE_S)
        return opened

    def _on_frame(self, frame: RawFrame) -> None:
        self.metrics.captured.inc()
        self._release.mailbox.put(frame)
        self._analysis.slot.put(frame)

    def _on_source_state(self, state: SourceState, text: str) -> None:
        self.status.camera = LinkState(state.value, text, time.monotonic())
        log.info("camera %s: %s", state.value, text)
        match state:
            case SourceState.LIVE:
                self._release.mailbox.put(SourceBack())
            case SourceState.LOST:
                self._release.mailbox.put(SourceGone(is_end=False))
            case SourceState.FAILED:
                self._fail_soon(text)
            case SourceState.ENDED:
                self._release.mailbox.put(SourceGone(is_end=True))

    # --- event loop -------------------------------------------------------------------------

    def _fail_soon(self, text: str) -> None:
        self._threads.call(self._fail, text)

    def _fail(self, text: str) -> None:
        self._failure = self._failure or text
        self._ended.set()

    async def _report(self) -> None:
        given_back_at = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            self.metrics.report()
            if time.monotonic() - given_back_at >= memory.EVERY_S:
                await asyncio.to_thread(memory.give_back)
                given_back_at = time.monotonic()
