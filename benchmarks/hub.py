"""The hub: what is left of its model's speed at the wire, and two hundred nodes that want it at once.

`wire_to_bare` (VGGFace2 in fp32; `_dlib` for the embedded model): crops a second from JPEG on the wire to the
answer, against batches of the same network by itself; `_p99_to_batch_at_70`: the slowest of a hundred answers
at 70 % of that, in batches. `int8_speedup`, `int8_cosine`, `vs_keras_predict` (int8, and `_fp32`, against one
crop at a time). With 200 nodes and a model that costs nothing: `crops_per_s_200_nodes`, `p99_ms_200_nodes`,
`fairness` (slowest node to the median), all without decoding; `_decoding` with it. `overload_*`: ten times
what the model can do. `dlib_speedup`: see `benchmarks.embed`. Nodes and hub share the machine's cores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import embed
from benchmarks.hub_load import by_nodes, many_nodes, overload
from benchmarks.hub_models import measure_models

FACES, QUICK_FACES = 12, 8
SPEEDUPS = ("dlib_speedup", "dlib_speedup_lo")


def measure(quick: bool = False, out: Path | None = None) -> dict[str, Any]:
    """out: folder for the plot of throughput and delay by the number of nodes."""
    crops = embed.real_crops(QUICK_FACES if quick else FACES)
    result = many_nodes(crops, quick) | overload(crops, quick) | measure_models(crops, quick)
    single = embed.measure(quick)
    result |= {key: single[key] for key in SPEEDUPS}
    if out is not None:
        _plot(by_nodes(crops, quick), out / "hub.png")
    return result


def _plot(curve: list[tuple[int, float, float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    nodes = [n for n, _, _ in curve]
    figure, axes = pyplot.subplots(figsize=(7, 4), dpi=110)
    axes.plot(nodes, [rate for _, rate, _ in curve], "o-")
    axes.set_xlabel("nodes, each with one question under way")
    axes.set_ylabel("crops a second")
    axes.set_ylim(bottom=0)
    delay = axes.twinx()
    delay.plot(nodes, [ms for _, _, ms in curve], "s--", color="gray")
    delay.set_ylabel("slowest of a hundred answers, ms (dashed)")
    delay.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
