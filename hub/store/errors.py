"""What can go wrong with kept people.

StoreError            the store itself: missing folder, damaged or newer file, full disk
├── NotFoundError     nobody of that name
├── ConflictError     the name or the limit does not allow it
├── InUseError        another program, most often a hub, holds the store
└── VaultError        a key is missing or wrong (hub/vault.py)
"""

from __future__ import annotations


class StoreError(Exception):
    """One clear line for a person."""


class NotFoundError(StoreError):
    """Nobody of that name is enrolled."""


class ConflictError(StoreError):
    """What is kept already does not allow it."""


class InUseError(StoreError):
    """Another program holds the store."""
