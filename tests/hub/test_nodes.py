"""What the hub remembers of its nodes."""

from __future__ import annotations

import msgspec
import pytest

from hub.nodes import HISTORY, MAX_NODES, STALE_AFTER_S, NodeBook, PaceBook
from protocol.messages import NodeReport

ONE, TWO = bytes(16), bytes([1]) * 16


def report(camera: str = "live", shown: int = 0, address: str = "http://127.0.0.1:8080/") -> NodeReport:
    return NodeReport(
        session=ONE, camera=camera, shown=shown, veiled=2, fps=25.0, delay_p50_s=0.06, delay_p95_s=0.12,
        fully_veiled=0.0, viewers=1, software="0.1.0", address=address,
    )  # type: ignore[arg-type]  # fmt: skip


def test_a_node_is_as_it_says_while_it_says_so() -> None:
    book = NodeBook()
    book.opened("door", ONE, 10.0)
    [door] = book.views(10.5)
    assert (door.name, door.standing, door.report) == ("door", "opening", None)
    assert book.reported("door", ONE, report(), 11.0), "the first is news"
    assert not book.reported("door", ONE, report(), 13.0)
    assert book.reported("door", ONE, report(shown=1), 13.5)
    [door] = book.views(14.0)
    assert door.standing == "live"
    assert door.report is not None
    assert door.report.shown == 1
    book.reported("door", ONE, report("lost"), 15.0)
    assert book.views(15.0)[0].standing == "lost"


def test_what_is_not_recent_is_not_shown_as_if_it_held() -> None:
    book = NodeBook()
    book.opened("door", ONE, 10.0)
    book.reported("door", ONE, report(), 11.0)
    door = book.view("door", 11.0 + STALE_AFTER_S)
    assert door is not None
    assert (door.standing, door.report, door.address) == ("silent", None, "http://127.0.0.1:8080/")


def test_a_node_without_a_connection_is_away_and_a_late_loss_of_an_earlier_one_changes_nothing() -> None:
    book = NodeBook()
    book.opened("door", ONE, 10.0)
    book.opened("door", TWO, 12.0)
    book.lost("door", ONE, 12.1)
    assert book.views(12.2)[0].standing == "opening"
    assert not book.reported("door", ONE, report(), 12.3), "of a session that is over"
    book.reported("door", TWO, report(), 12.4)
    book.lost("door", TWO, 13.0)
    [door] = book.views(20.0)
    assert (door.standing, door.report, door.since_s) == ("away", None, 7.0)


def test_memory_is_bounded_and_whoever_is_connected_stays() -> None:
    book = NodeBook()
    book.opened("stays", ONE, 0.0)
    for n in range(MAX_NODES + 5):
        book.opened(f"n{n}", TWO, 1.0 + n)
        book.lost(f"n{n}", TWO, 1.5 + n)
    views = book.views(2_000.0)
    assert len(views) == MAX_NODES
    assert "stays" in {view.name for view in views}
    for at in range(3 * HISTORY):
        book.reported("stays", ONE, report(), 2.0 * at)
    view = book.view("stays", 0.0)
    assert view is not None
    assert len(view.history) == HISTORY


def test_pages_are_told_where_pictures_come_from() -> None:
    book = NodeBook()
    book.opened("door", ONE, 1.0)
    book.reported("door", ONE, report(address=""), 1.0)
    assert not book.origins()
    book.reported("door", ONE, report(address="https://door.lan:8080/view/"), 1.0)
    book.opened("hall", TWO, 1.0)
    book.reported("hall", TWO, report(), 1.0)
    assert book.origins() == ("http://127.0.0.1:8080", "https://door.lan:8080")


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "https://a;b",
        "https://a'b/",
        "http://a b/",
        "https://a/?x=1",
        "//a/",
        "https://",
    ],
)
def test_an_address_that_could_be_more_than_one_is_none(address: str) -> None:
    """It becomes part of a page's security policy."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(msgspec.to_builtins(report(address=address)), NodeReport)


def test_the_hubs_pace_is_a_difference() -> None:
    book = PaceBook()
    book.count({"questions": 100}, 1.0)
    assert not book.history
    book.count({"questions": 110, "reveals": 4, "shed": 2}, 3.0)
    [pace] = book.history
    assert (pace.questions, pace.reveals, pace.veils, pace.shed) == (5.0, 2.0, 0.0, 1.0)
