"""What can go wrong with faces in one image.

VisionError
├── ModelError   a model's files are missing, altered or cannot be used
└── CropError    bytes that are no crop (see vision.crops)
"""

from __future__ import annotations


class VisionError(Exception):
    """One clear line for a person."""


class ModelError(VisionError):
    """A model's files are missing, altered or cannot be used."""


class CropError(VisionError):
    """These bytes are not a face crop as `vision.crops` defines it."""
