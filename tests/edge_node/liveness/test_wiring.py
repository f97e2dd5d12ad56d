"""Through the analyzer: a sheet is not asked about, a head is; a cut forgets."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from edge_node.analysis import AnalysisSettings, Analyzer
from edge_node.config import HubSettings, LivenessSettings, NodeSettings
from edge_node.liveness.watch import LivenessWatch
from edge_node.node import Node
from edge_node.tracking.track import Analysis
from edge_node.tracking.tracker import Tracker
from tests.edge_node.liveness.drawn import HEIGHT, WIDTH, box_at, frame
from tests.fakes import FakeDetector, detections, raw_frame


def analyzed(kind: str, watch: LivenessWatch | None, frames: int = 60) -> tuple[Analyzer, Analysis]:
    detector = FakeDetector()
    analyzer = Analyzer(detector, Tracker(), AnalysisSettings(), liveness=watch)
    for n in range(0, frames, 2):
        detector.faces = detections(box_at(n))
        result = analyzer.analyze(raw_frame(n, n / 25, frame(kind, n)))
    return analyzer, result


def test_a_sheet_is_neither_shown_nor_asked_about() -> None:
    analyzer, result = analyzed("sheet", LivenessWatch())
    (sheet,) = result.observations
    assert not sheet.trusted
    assert result.suspected == 1
    assert analyzer.looks(frame("sheet", 58), result.observations, [sheet.track]) == []


def test_a_head_is_both() -> None:
    _, result = analyzed("head", LivenessWatch())
    (head,) = result.observations
    assert head.trusted
    assert head.watched
    assert result.suspected == 0


def test_without_a_watch_a_sheet_passes() -> None:
    _, result = analyzed("sheet", None)
    assert result.observations[0].trusted
    assert result.suspected == 0


def test_a_cut_forgets_the_doubt() -> None:
    watch = LivenessWatch()
    analyzer, _ = analyzed("sheet", watch)
    assert watch.suspected == 1
    other = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    other[:, ::40] = 250
    result = analyzer.analyze(raw_frame(60, 2.4, other))
    assert result.cut
    assert watch.suspected == 0


@pytest.mark.parametrize(
    ("settings", "is_watched"),
    [
        (NodeSettings(), True),
        (NodeSettings(liveness=LivenessSettings(enabled=False)), False),
        (NodeSettings(hub=HubSettings(enabled=False)), False),
    ],
)
def test_the_node_watches_by_default_where_anybody_could_be_shown(
    settings: NodeSettings, is_watched: bool
) -> None:
    node = SimpleNamespace(_settings=settings)
    assert (Node._make_liveness(node) is not None) == is_watched  # type: ignore[arg-type]
