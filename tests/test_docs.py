"""What the documents name exists, and what exists is named."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path

import pytest
import typer

from edge_node.__main__ import app as node
from edge_node.bridge import LoopCaller
from edge_node.events.desk import NoticeCollector
from edge_node.metrics import Metrics
from edge_node.stream.mjpeg import MjpegSink, StreamCollector
from edge_node.stream.publish import PublishCollector
from edge_node.stream.webrtc import WebRtcCollector, WebRtcSink
from enrollment.cli import app as enroll
from hub.__main__ import app as hub
from protocol.messages import AnyMessage

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
APPS = {"veilcast-node": node, "veilcast-hub": hub, "veilcast-enroll": enroll}


def commands() -> list[str]:
    """Every command line of ours in a code block of the documents, without its options' values."""
    found = set()
    for path in DOCUMENTS:
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL):
            for line in block.splitlines():
                words = shlex.split(line, comments=True)
                if words and words[0] in APPS:
                    options = sorted(w.split("=")[0] for w in words if w.startswith("--"))
                    names = [w for w in words[1:3] if re.fullmatch(r"[a-z-]+", w) and not w.startswith("-")]
                    found.add(" ".join([words[0], *names, *options]))
    return sorted(found)


@pytest.mark.parametrize("line", commands())
def test_every_command_in_the_documents_exists_with_its_options(line: str) -> None:
    program, *rest = line.split()
    command = typer.main.get_command(APPS[program])
    known = options_of(command)
    for name in (w for w in rest if not w.startswith("--")):
        inner = getattr(command, "commands", None)  # a group's; else the word is an argument
        if inner is None:
            break
        assert name in inner, line
        command = inner[name]
        known |= options_of(command)
    assert {w for w in rest if w.startswith("--")} <= known | {"--help"}, line


def options_of(command: object) -> set[str]:
    return {option for param in command.params for option in (*param.opts, *param.secondary_opts)}  # type: ignore[attr-defined]


def test_the_documents_name_commands() -> None:
    assert len(commands()) >= 6


def test_the_documented_messages_are_those_of_the_code() -> None:
    table = (ROOT / "docs" / "protocol.md").read_text()
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE))
    tags = {kind.__struct_config__.tag for kind in AnyMessage.__args__}  # type: ignore[attr-defined]
    assert documented == tags


def test_the_documented_metrics_are_those_of_the_code() -> None:
    metrics, sink, loop = Metrics(), MjpegSink(), asyncio.new_event_loop()
    live = WebRtcSink(LoopCaller(loop))
    metrics.registry.register(StreamCollector(sink))
    metrics.registry.register(WebRtcCollector(live))
    metrics.registry.register(NoticeCollector(list))
    metrics.registry.register(PublishCollector(lambda: None))
    sink.close()
    live.close()
    loop.close()
    table = (ROOT / "docs" / "metrics.md").read_text()
    documented = set(re.findall(r"`(veilcast_[a-z_]+)`", table))
    assert documented == {family.name for family in metrics.registry.collect()}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
