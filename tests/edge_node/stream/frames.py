"""Masked frames for tests of sinks. Only tests may make them like this."""

from __future__ import annotations

import numpy as np

from edge_node.frames import MaskedFrame, ReleaseReason, ShownFace


def masked(
    seq: int,
    image: np.ndarray | None = None,
    *,
    pts_s: float | None = None,
    reason: ReleaseReason = ReleaseReason.COVERED,
    names: tuple[str, ...] = (),
    veiled: int = 0,
    has_ids: bool = True,
) -> MaskedFrame:
    """A frame; gray where no image is given, at 25 frames a second."""
    if image is None:
        image = np.full((48, 64, 3), 16 + 8 * (seq % 28), np.uint8)
    box = (0.0, 0.0, 10.0, 10.0)
    ids = [f"id-{name}" if has_ids else "" for name in names]
    shown = tuple(ShownFace(i, name, box, ids[i]) for i, name in enumerate(names))
    at = seq / 25 if pts_s is None else pts_s
    return MaskedFrame(
        seq=seq, captured_at=at, pts_s=at, image=image, reason=reason, shown=shown, veiled_count=veiled
    )
