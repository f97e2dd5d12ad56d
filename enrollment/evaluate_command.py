"""The command `veilcast-enroll evaluate`: its options and words. Mounted by `enrollment.cli`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from enrollment import det, report
from enrollment.client import HubClient
from enrollment.det_plot import draw_det, write_det
from enrollment.errors import EnrollmentError
from enrollment.evaluate import Evaluation, ThresholdRefusedError, choose, measure, set_files
from vision.detector import Mtcnn

OpenHub = Callable[[typer.Context, bool], AbstractContextManager[HubClient]]
Bar = Callable[[int], AbstractContextManager[Progress]]


def add_evaluate_command(app: typer.Typer, open_hub: OpenHub, progress: Bar) -> None:
    """Mount the command. open_hub: (context, as_json) -> a connected client, under which errors become
    lines and exit codes. progress: a bar with one task."""

    @app.command()
    def evaluate(
        ctx: typer.Context,
        folder: Annotated[
            Path, typer.Argument(metavar="DIR", help="DIR/PERSON/*.jpg, or DIR/GROUP/PERSON/*.jpg.")
        ],
        threshold: Annotated[
            float | None,
            typer.Option(
                "--threshold", metavar="X", min=0.0, max=1.0,
                help="Try this one (with one person enrolled). [default: the lowest safe one, at least the "
                "one in force]",
            ),
        ] = None,
        plot: Annotated[
            Path, typer.Option("--plot", metavar="FILE", help="Where the DET plot goes.")
        ] = Path("det.png"),
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Measure only; write no threshold.")] = False,
        as_json: Annotated[
            bool, typer.Option("--json", help="One JSON document on standard output.")
        ] = False,
    ) -> None:  # fmt: skip
        """Measure how well people are told apart, draw the DET plot, and set the threshold.

        Nobody is enrolled by this, and the hub keeps nothing of the photos. A threshold at which a stranger
        of the set would have been shown is refused. The hub decides by the new one from its next start on.
        """
        with open_hub(ctx, as_json) as hub:
            files = set_files(folder)
            with progress(len(files)) as bar:
                found = measure(files, Mtcnn(), hub, lambda: bar.advance(bar.task_ids[0]))
            _draw(found, threshold, plot)
            try:
                chosen = choose(found, threshold)
            except ThresholdRefusedError:
                tried = threshold if threshold is not None else found.likeness.threshold
                _print(found, document(found, tried, plot, is_written=False), as_json)
                raise
            if not dry_run:
                hub.set_threshold(
                    found.likeness.model_id, chosen, found.likeness.margin, found.people, len(found.faces),
                    f"{folder.resolve().name}, {len(found.searches.stranger)} looks at strangers",
                )  # fmt: skip
            _print(found, document(found, chosen, plot, is_written=not dry_run), as_json)


def document(found: Evaluation, threshold: float, plot: Path, is_written: bool) -> dict[str, Any]:
    """The JSON document."""
    likeness = found.likeness
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "model": likeness.model_id,
        "people": found.people,
        "photos": len(found.faces),
        "refused": [{"photo": r.file, "reason": r.refused.text} for r in found.refused],
        "pairs": {"same": len(found.pairs.same), "other": len(found.pairs.other)},
        "searches": {"known": len(found.searches.known), "strangers": len(found.searches.stranger)},
        "threshold": threshold,
        "per_tenfold": likeness.per_tenfold,
        "margin": likeness.margin,
        "threshold_in_force": likeness.threshold,
        "written": is_written,
        "rates": _rates(found.rates(threshold)),
        "rates_in_force": _rates(found.rates(likeness.threshold)),
        "groups": {group: _rates(found.rates(threshold, group)) for group in found.groups},
        "det": [_rates(point) for point in found.curve()],
        "plot": str(plot),
    }


def _rates(rates: det.Rates) -> dict[str, float | None]:
    """Null where nothing was there to be counted."""
    return {name: None if math.isnan(value) else round(value, 6) for name, value in asdict(rates).items()}


def _draw(found: Evaluation, threshold: float | None, path: Path) -> None:
    shown = found.likeness.threshold if threshold is None else threshold
    names = ["everyone", *found.groups]
    curves = {name: found.curve("" if name == "everyone" else name) for name in names}
    points = {name: found.rates(shown, "" if name == "everyone" else name) for name in names}
    title = f"{found.likeness.model_id}: {found.people} people, {len(found.faces)} photos"
    try:
        write_det(path, draw_det(curves, points, f"{title}, dot at {shown:.3f}"))
    except OSError as exc:
        raise EnrollmentError(f"cannot write the plot {path}: {exc.strerror}; --plot names another") from exc


def _print(found: Evaluation, result: dict[str, Any], as_json: bool) -> None:
    if as_json:
        report.print_json(result)
        return
    table = Table("who", "FMR", "FNMR", "FPIR", "FNIR")
    rows = {"everyone": result["rates"], **result["groups"]}
    for name, rates in rows.items():
        cells = [rates[key] for key in ("fmr", "fnmr", "fpir", "fnir")]
        table.add_row(report.plain(name), *("-" if c is None else f"{100 * c:.2f} %" for c in cells))
    console = report.console()
    console.print(table)
    console.print(
        f"{result['people']} people, {result['photos']} photos used, {len(found.refused)} not; "
        f"plot in {report.plain(str(result['plot']))}"
    )
    words = "written; the hub decides by it from its next start on" if result["written"] else "not written"
    console.print(f"threshold {result['threshold']:.3f} ({words})")
