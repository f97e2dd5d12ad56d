"""A source whose pictures are turned, for a camera that hangs on its side or head down."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge_node.capture.source import CapturedImage, FrameSource, SourceInfo

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(frozen=True, slots=True)
class Turned:
    """`source` turned by `degrees` clockwise: 90, 180 or 270. On top of what a file itself asks for."""

    source: FrameSource
    degrees: int

    @property
    def info(self) -> SourceInfo:
        info = self.source.info
        if self.degrees == 180:
            return info
        return SourceInfo(info.height, info.width, info.fps, info.kind, info.label, info.is_live)

    @property
    def skipped(self) -> int:
        return self.source.skipped

    def read(self) -> CapturedImage:
        captured = self.source.read()
        turned = cv2.rotate(captured.image, _TURNS[self.degrees])
        return CapturedImage(np.asarray(turned, np.uint8), captured.pts_s)

    def close(self) -> None:
        self.source.close()
