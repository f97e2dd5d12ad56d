"""The value that a detector returns: boxes, scores and landmarks of the faces in one image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) uint8; BGR unless a name says rgb."""


@dataclass(frozen=True, slots=True)
class Detections:
    """N faces of one image, in no promised order. No identity over time."""

    boxes_xyxy: NDArray[np.float32]
    """(N, 4) pixels: left, top, right, bottom; may reach beyond the image."""
    scores: NDArray[np.float32]
    """(N,) in 0..1."""
    landmarks: NDArray[np.float32]
    """(N, 5, 2) pixels: left eye, right eye, nose tip, left and right mouth corner (as seen)."""

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def __post_init__(self) -> None:
        n = len(self.boxes_xyxy)
        shapes = (self.boxes_xyxy.shape, self.scores.shape, self.landmarks.shape)
        if shapes != ((n, 4), (n,), (n, 5, 2)):
            raise ValueError(f"detections need shapes (N, 4), (N,), (N, 5, 2), not {shapes}")

    @staticmethod
    def none() -> Detections:
        """No face."""
        return Detections(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32)
        )


class FaceFinder(Protocol):
    """Finds faces for veiling only: more of them, and less surely, than a `Detector`.

    Implemented by `vision.centerface.CenterFace`.
    """

    @property
    def is_quiet(self) -> bool:
        """Whether the image that was examined last promised no face but the settled ones, and spots that were
        looked at closely in vain."""
        ...

    def begin(self, image: Image) -> None:
        """Begin to look at the image that `glance` is asked about next, beside whatever the caller does
        meanwhile. The image must not change until then."""
        ...

    def glance(self, image: Image) -> Detections:
        """What there may be in the whole image, seen at once; waits for what was begun."""
        ...

    def examine(
        self,
        image: Image,
        glance: Detections,
        expected_xyxy: NDArray[np.float32],
        settled_xyxy: NDArray[np.float32],
        looks: int,
    ) -> Detections:
        """All faces of the image but those that are settled.

        glance: of this image, or nothing where there was no time for one. expected_xyxy: (N, 4) pixels, where
        a face should be that nothing has confirmed in this image: worth a closer look. settled_xyxy: (M, 4),
        faces confirmed by other means: not worth another.
        looks: how many closer ones there is time for.
        """
        ...


class Detector(Protocol):
    """Finds faces. Implemented by `vision.detector.Mtcnn`; tests bring fakes."""

    def detect(self, image: Image, part: int = 0, parts: int = 1) -> Detections:
        """All faces of the image (a full scan), or those of one of so many parts of the search."""
        ...

    def refine(self, image: Image, boxes_xyxy: NDArray[np.float32]) -> Detections:
        """Look for a face near each given box (N, 4) pixels, without a full scan.

        Returns exactly N rows in the same order; where no face was confirmed the score is 0 and the
        box is the one given.
        """
        ...
