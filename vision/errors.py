"""What can go wrong with faces in one image.

VisionError
├── ModelError   a model's files are missing, altered or cannot be used
├── CropError    bytes that are no crop (see vision.crops)
└── PhotoError   a file that is no usable photo (see vision.photos)
"""

from __future__ import annotations

from vision.reasons import Refused


class VisionError(Exception):
    """One clear line for a person."""


class ModelError(VisionError):
    """A model's files are missing, altered or cannot be used."""


class CropError(VisionError):
    """These bytes are not a face crop as `vision.crops` defines it."""


class PhotoError(VisionError):
    """A file that is no usable photo."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.text)
        self.refused = refused
