"""Everything the node can tell a person is wrong.

NodeError
├── ConfigError       a setting that cannot be used
└── StartError        a part could not be started (camera, key, address)
"""

from __future__ import annotations


class NodeError(Exception):
    """One clear line for a person: what is wrong and what to do."""


class ConfigError(NodeError):
    """A setting that cannot be used."""


class StartError(NodeError):
    """A part of the node could not be started."""
