"""How the hub and its nodes fare: versions, keys, health, and the last minutes as numbers for plots. [I/O]"""

from __future__ import annotations

import base64
import shutil
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aiohttp import web

from hub.audit.errors import AuditError, SealError
from hub.nodes import NodeView
from hub.signing import fingerprint
from hub.web.access import Role, needs
from hub.web.context import CONTEXT
from hub.web.ports import PagePorts
from hub.web.replies import answers, ports_of
from hub.web.shell import Shell

LITTLE_ROOM_BYTES = 200 * 2**20
"""Below this the hub says so: without room for the audit log nobody is shown."""


class System:
    """The handlers."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/system", self.page), web.get("/api/system", self.now)]

    @needs(Role.OPERATOR)
    async def page(self, request: web.Request) -> web.Response:
        return self._shell.page(request, "system")

    @needs(Role.OPERATOR)
    @answers
    async def now(self, request: web.Request) -> web.Response:
        ports = ports_of(request)
        now = ports.clock()
        let_in = sorted(request.app[CONTEXT].let_in(), key=lambda p: (p.role, p.name))
        views = {view.name: view for view in ports.nodes.views(now)}
        names = sorted(set(views) | {peer.name for peer in let_in if peer.role == "node"})
        return web.json_response(
            {
                "hub": _hub_json(ports, now), "health": _health(ports, views) + _unseen(names, views),
                "nodes": [_node_json(name, views.get(name), ports, now) for name in names],
                "pace": [
                    [round(p.at - now, 1), round(p.questions, 1), round(p.reveals, 1), round(p.veils, 1)]
                    for p in ports.pace.history
                ],
                "keys": _keys_json(ports, [{"role": p.role, "name": p.name} for p in let_in]),
            }
        )  # fmt: skip


def software_version() -> str:
    """Of the installed package; empty where it runs from elsewhere."""
    try:
        return version("veilcast")
    except PackageNotFoundError:
        return ""


def _hub_json(ports: PagePorts, now: float) -> dict[str, Any]:
    live, manifest = ports.live(), ports.manifest
    return {
        "software": software_version(), "uptime_s": round(now - ports.started), "address": ports.address(),
        "model": manifest.model_id, "threshold": round(manifest.threshold, 4),
        "margin": round(manifest.margin, 4), "people": len(live.identities),
        "consented": len(live.consents), "gallery_version": live.gallery_version,
        "shown_now": len(ports.shown()),
    }  # fmt: skip


def _keys_json(ports: PagePorts, let_in: list[dict[str, str]]) -> dict[str, Any]:
    public = ports.public_key.public_bytes_raw()
    return {
        "signing": fingerprint(public), "signing_key": base64.b64encode(public).decode(),
        "line": ports.hub_key, "let_in": let_in,
    }  # fmt: skip


def _health(ports: PagePorts, views: dict[str, NodeView]) -> list[dict[str, str]]:
    """What to look at, worst first; empty where all is well."""
    found: list[dict[str, str]] = []
    try:
        head = ports.audit_files.read_head(ports.public_key)
        if head is None:
            found.append({"level": "bad", "text": "The audit log has no head: nobody is shown."})
    except (AuditError, SealError) as exc:
        found.append({"level": "bad", "text": f"The audit log cannot be read: {exc}."})
    try:
        free = shutil.disk_usage(ports.audit_files.state).free
        if free < LITTLE_ROOM_BYTES:
            text = f"Only {free // 2**20} MB are free: when the audit log cannot be written nobody is shown."
            found.append({"level": "bad", "text": text})
    except OSError as exc:
        found.append({"level": "bad", "text": f"The state folder cannot be read: {exc.strerror}."})
    for name, view in views.items():
        if view.standing in ("lost", "failed"):
            found.append({"level": "warn", "text": f"{name}: its camera is lost."})
        elif view.standing in ("away", "silent"):
            found.append({"level": "warn", "text": f"{name}: not connected; it veils everyone meanwhile."})
        elif view.report is not None and view.report.fully_veiled > 0.2:
            share = f"{view.report.fully_veiled:.0%}"
            found.append({"level": "warn", "text": f"{name}: {share} of its pictures are veiled in full."})
    return found


def _unseen(names: list[str], views: dict[str, NodeView]) -> list[dict[str, str]]:
    return [
        {"level": "warn", "text": f"{name}: has a key and has not connected since the hub's start."}
        for name in names
        if name not in views
    ]


def _node_json(name: str, view: NodeView | None, ports: PagePorts, now: float) -> dict[str, Any]:
    if view is None:
        return {"name": name, "standing": "away", "mode": ports.mode_of(name), "history": [], "report": None}
    report = view.report
    return {
        "name": name, "standing": view.standing, "mode": ports.mode_of(name),
        "since_s": round(view.since_s), "software": view.software, "address": view.address,
        "report": None if report is None else {
            "fps": round(report.fps, 1), "p50_ms": round(report.delay_p50_s * 1000),
            "p95_ms": round(report.delay_p95_s * 1000), "viewers": report.viewers,
            "fully_veiled": round(report.fully_veiled, 3),
        },
        "history": [
            [round(s.at - now, 1), round(s.fps, 1), round(s.delay_p95_s * 1000), s.shown, s.veiled]
            for s in view.history
        ],
    }  # fmt: skip
