"""The script by which a browser plays a node's live video: `live_video.js`, one file for all pages.

It speaks WHEP with a node, and is part of the contract between nodes and pages as the messages are. Served by
the node's own page and by the hub's wall; read once, when the pages are made.
"""

from __future__ import annotations

from pathlib import Path


def live_video_script() -> str:
    """The module's text; it exports `LiveVideo`."""
    return Path(__file__).with_suffix(".js").read_text("utf-8")
