"""What a person can be told when a stream cannot be served or recorded.

StartError (edge_node.errors)
├── WebError      the live page cannot be served as asked
└── RecordError   the recording cannot be made as asked
"""

from __future__ import annotations

from edge_node.errors import StartError


class WebError(StartError):
    """The live page cannot be served; the message says why and what to do."""


class RecordError(StartError):
    """The recording cannot be made; the message says why and what to do."""
