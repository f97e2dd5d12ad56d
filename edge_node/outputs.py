"""What else a node gives out, besides its page: recordings, a published stream, notices. Wiring, no logic.

Built by `edge_node.node` from the settings; its sinks take masked frames like all others. `run` keeps the
connections up in the event loop and never raises for what is wrong at the other end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from edge_node.config import NodeSettings, RecordSettings
from edge_node.frames import FrameSink
from edge_node.stream.recorder import Recorder
from edge_node.stream.shelf import GB, RecordPlan, Shelf

log = logging.getLogger(__name__)

DAY_S = 86_400.0


class Outputs:
    """Raises RecordError where the recording cannot be made as asked."""

    def __init__(
        self, settings: NodeSettings, nominal_fps: Callable[[], float], on_failure: Callable[[str], None]
    ) -> None:
        """on_failure: a line for a person, where a source that is streamed once cannot be recorded."""
        self._is_once = settings.source.once
        self._on_failure = on_failure
        self._recorder = self._make_recorder(settings.record, settings.name, nominal_fps)

    def sinks(self) -> list[FrameSink]:
        return [] if self._recorder is None else [self._recorder]

    def check_recording(self) -> str | None:
        """After the recorder was closed: what is wrong with the recording, if anything."""
        recorder = self._recorder
        if recorder is None or recorder.has_failed:
            return None  # its error was told when it happened
        if not recorder.dropped:
            log.info("recorded %d frames to %s", recorder.written, recorder.path)
            return None
        log.error("the recording lacks %d frames: the encoder was too slow", recorder.dropped)
        return f"the recording {recorder.path} lacks frames"

    def _make_recorder(
        self, record: RecordSettings, node: str, nominal_fps: Callable[[], float]
    ) -> Recorder | None:
        if not record.path:
            return None
        path = Path(record.path).expanduser()
        plan = RecordPlan(
            segment_s=record.segment_minutes * 60,
            keep_s=record.keep_days * DAY_S,
            keep_bytes=round(record.keep_gb * GB),
            min_free_bytes=round(record.min_free_gb * GB),
        )
        shelf = Shelf(path, plan, node)
        return Recorder(path, self._on_recorder_error, nominal_fps, shelf=shelf)

    def _on_recorder_error(self, line: str) -> None:
        log.error("%s", line)
        if self._is_once:
            self._on_failure(line)
