"""What the benchmarks found, as files and in one table beside the goals.

`write` keeps one object of a benchmark, `table` reads a folder of them. Called by `benchmarks.__main__`; what
is measured is the benchmarks' own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

AT_LEAST, AT_MOST = "≥", "≤"
GOALS: dict[str, dict[str, tuple[str, float]]] = {
    "detect": {
        "speedup_vs_mtcnn_20px_lo": (AT_LEAST, 10),
        "speedup_vs_facenet_pytorch_20px_lo": (AT_LEAST, 10),
        "speedup_vs_facenet_pytorch_40px_lo": (AT_LEAST, 10),
        "box_parity": (AT_LEAST, 0.995),
    },
    "node": {
        "analysis_per_s_lo": (AT_LEAST, 25),
        "cpu_share_of_core_hi": (AT_MOST, 1.2),
        "rss_mb": (AT_MOST, 500),
        "rss_mb_per_h": (AT_MOST, 1),
        "p50_ms": (AT_MOST, 60),
        "p99_ms": (AT_MOST, 150),
        "fps_1080p": (AT_LEAST, 25),
    },
    "network": {"kbit_per_s_five_hi": (AT_MOST, 150), "fewer_bytes_lo": (AT_LEAST, 50)},
    "hub": {
        "wire_to_bare_lo": (AT_LEAST, 0.9),
        "wire_to_bare_p99_to_batch_at_70": (AT_MOST, 2),
        "int8_speedup_lo": (AT_LEAST, 2),
        "int8_cosine": (AT_LEAST, 0.99),
        "vs_keras_predict_lo": (AT_LEAST, 10),
        "crops_per_s_200_nodes_lo": (AT_LEAST, 5_000),
        "p99_ms_200_nodes_hi": (AT_MOST, 50),
        "fairness_lo": (AT_LEAST, 0.8),
        "overload_lost": (AT_MOST, 0),
        "overload_fairness": (AT_LEAST, 0.8),
        "dlib_speedup_lo": (AT_LEAST, 4),
    },
    "gallery": {
        "speedup_100k_lo": (AT_LEAST, 15),
        "decision_agreement_100k": (AT_LEAST, 0.9999),
        "memory_ratio_100k": (AT_LEAST, 8),
        "erase_ms": (AT_MOST, 10),
        "add_ms": (AT_MOST, 10),
    },
    "leak": {
        "leak_rate_real": (AT_MOST, 0.002),
        "area_ratio_vs_deface": (AT_MOST, 1.5),
        "leak_rate_generated": (AT_MOST, 0.0005),
        "full_frame_rate": (AT_MOST, 0.001),
        "added_delay_ms_p95": (AT_MOST, 150),
    },
    "faults": {"leaks": (AT_MOST, 0), "recovery_s_max": (AT_MOST, 3)},
    "overload": {"leaks": (AT_MOST, 0), "slope_ms_per_min": (AT_MOST, 1)},
    "recognition": {
        "lfw_dev_accuracy": (AT_LEAST, 0.99),
        "fpir": (AT_MOST, 0.001),
        "hamilton_shown_rate": (AT_LEAST, 0.99),
        "hamilton_wrongly_shown": (AT_MOST, 0),
        "reid_ratio_veil": (AT_MOST, 1.25),
        "reid_ratio_solid": (AT_MOST, 1.25),
    },
    "glass": {
        "p50_ms": (AT_MOST, 120),
        "p95_ms": (AT_MOST, 200),
        "vs_aiortc_example_hi": (AT_MOST, 0.5),
        "drift_ms_per_min": (AT_MOST, 1),
        "cpu_per_viewer": (AT_MOST, 5),
    },
}
"""By benchmark and key. A ratio counts by the bound that is nearer to its goal."""


def write(folder: Path, name: str, result: dict[str, Any]) -> None:
    """Keep `result` as `folder`/`name`.json."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=2, ensure_ascii=False, default=str)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def table(folder: Path) -> str:
    """Markdown: every goal with what was measured; what was not measured, or failed, says so."""
    lines = ["| benchmark | key | measured | goal | |", "|---|---|---|---|---|"]
    for name, goals in GOALS.items():
        path = folder / f"{name}.json"
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        for key, (sign, goal) in goals.items():
            value = found.get(key)
            verdict = _verdict(value, sign, goal)
            shown = "–" if value is None else value
            lines.append(f"| {name} | `{key}` | {shown} | {sign} {goal:g} | {verdict} |")
    return "\n".join(lines) + "\n"


def _verdict(value: object, sign: str, goal: float) -> str:
    if not isinstance(value, int | float):
        return "not measured"
    is_met = value >= goal if sign == AT_LEAST else value <= goal
    return "met" if is_met else "missed"
