"""What the node counts: Prometheus counters, and a short window of delays for the live page.

Written from several threads (prometheus-client locks each metric). Holds no names and no ids.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

log = logging.getLogger(__name__)

WINDOW = 512
"""Delays kept for the percentiles on the page: 20 s at 25 frames a second."""


@dataclass(frozen=True, slots=True)
class Delays:
    """Capture to masked frame, milliseconds; 0 where nothing was released yet."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


class Metrics:
    """All counters of one node, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.captured = Counter("veilcast_frames_captured", "Frames from the camera", registry=r)
        self.analyzed = Counter("veilcast_frames_analyzed", "Frames analyzed", registry=r)
        self.released = Counter(
            "veilcast_frames_released", "Frames released, by reason", ["reason"], registry=r
        )
        self.dropped = Counter(
            "veilcast_frames_dropped", "Frames lost before release (mailbox full)", registry=r
        )
        self.thinned = Counter(
            "veilcast_frames_thinned", "Frames left out: the analyses around them were too far apart",
            registry=r,
        )  # fmt: skip
        self.faults = Counter(
            "veilcast_faults", "Steps that failed, by part; the picture was veiled", ["part"],
            registry=r,
        )  # fmt: skip
        self.asked = Counter("veilcast_questions", "Crops sent to the hub", registry=r)
        self.decisions = Counter(
            "veilcast_decisions", "Answers of the hub, by outcome", ["outcome"], registry=r
        )
        self.regions = Counter(
            "veilcast_regions", "Faces in released frames, by the evidence for their place", ["evidence"],
            registry=r,
        )  # fmt: skip
        self.mask_age = Histogram(
            "veilcast_mask_age_seconds", "Age of the evidence for a face's place, each released frame",
            registry=r, buckets=(0.0, 0.04, 0.08, 0.12, 0.2, 0.4, 0.8, 1.6),
        )  # fmt: skip
        self.reveal_seconds = Counter(
            "veilcast_reveal_seconds", "Time that faces were shown, summed over faces", registry=r
        )
        self.faces_veiled = Gauge("veilcast_faces_veiled", "In the last frame", registry=r)
        self.faces_shown = Gauge("veilcast_faces_shown", "In the last frame", registry=r)
        self.faces_suspected = Gauge(
            "veilcast_faces_suspected", "Veiled as a photo or screen held up", registry=r
        )
        self.hub_connected = Gauge("veilcast_hub_connected", "1 while a session stands", registry=r)
        self.delay = Histogram(
            "veilcast_release_delay_seconds", "Capture to masked frame", registry=r,
            buckets=(0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0),
        )  # fmt: skip
        self.analysis_time = Histogram(
            "veilcast_analysis_seconds", "Detection and tracking of one frame", registry=r,
            buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.5),
        )  # fmt: skip
        self._lock = threading.Lock()
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._reported: dict[str, float] = {}

    def released_after(self, delay_s: float) -> None:
        """A frame left `delay_s` after its capture."""
        self.delay.observe(delay_s)
        with self._lock:
            self._window.append(delay_s * 1000)

    def delays(self) -> Delays:
        """Percentiles over the last WINDOW frames."""
        with self._lock:
            window = list(self._window)
        if not window:
            return Delays(0.0, 0.0, 0.0)
        p50, p95, p99 = np.percentile(window, [50, 95, 99])
        return Delays(float(p50), float(p95), float(p99))

    def totals(self) -> dict[str, float]:
        """Counter name and labels -> value, without the zero ones."""
        totals = {}
        for family in self.registry.collect():
            if family.type != "counter":
                continue
            for sample in family.samples:
                if sample.name.endswith("_total") and sample.value:
                    labels = ",".join(sample.labels.values())
                    name = sample.name.removeprefix("veilcast_").removesuffix("_total")
                    totals[f"{name}[{labels}]" if labels else name] = sample.value
        return totals

    def report(self) -> None:
        """Log what has changed since the last call, in one line (rule: counted, then summarized)."""
        totals = self.totals()
        changed = {k: v - self._reported.get(k, 0.0) for k, v in totals.items()}
        line = " ".join(f"{k}={v:.0f}" for k, v in changed.items() if v)
        self._reported = totals
        if line:
            log.debug("%s", line)
