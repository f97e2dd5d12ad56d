"""What the pages' handlers share: JSON in and out, and refusals in words. [I/O]"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from aiohttp import web

from hub.audit.errors import AuditError, SealError
from hub.errors import DeclinedError
from hub.store.errors import StoreError
from hub.web.context import CONTEXT
from hub.web.ports import PagePorts
from protocol.errors import LocalProtocolError
from protocol.limits import MAX_REQUEST_HEADER_BYTES

STATUS = {
    "not-found": 404, "conflict": 409, "duplicate": 409, "invalid": 400, "quality": 400, "overloaded": 503,
    "not-allowed": 403,
}  # fmt: skip
S = TypeVar("S")
Answer = Callable[[S, web.Request], Awaitable[web.StreamResponse]]


def ports_of(request: web.Request) -> PagePorts:
    """What the hub offers to these pages."""
    ports = request.app[CONTEXT].pages
    assert ports is not None, "these routes are added only where there are ports"
    return ports


def refusal(status: int, text: str, **more: object) -> web.Response:
    """One sentence for whoever looks at the page."""
    return web.json_response({"error": text, **more}, status=status)


def answers(handler: Answer[S]) -> Answer[S]:
    """What the hub declines becomes a sentence and a status."""

    @wraps(handler)
    async def answer(self: S, request: web.Request) -> web.StreamResponse:
        try:
            return await handler(self, request)
        except DeclinedError as exc:
            return refusal(STATUS.get(exc.code, 500), _sentence(str(exc)), code=exc.code)
        except BadInputError as exc:
            return refusal(400, str(exc))
        except (AuditError, SealError, StoreError) as exc:
            return refusal(503, _sentence(str(exc)))
        except LocalProtocolError:
            return refusal(400, "That is longer than the hub keeps.")

    return answer


class BadInputError(Exception):
    """What was typed cannot be used; one sentence."""


async def body_of(request: web.Request) -> dict[str, Any]:
    """The JSON object that was sent. Raises BadInputError."""
    if request.content_type != "application/json":
        raise BadInputError("Send JSON.")
    data = bytearray()
    async for chunk in request.content.iter_any():
        data += chunk
        if len(data) > MAX_REQUEST_HEADER_BYTES:
            raise BadInputError("That is too long.")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise BadInputError("That is no JSON.") from exc
    if not isinstance(body, dict):
        raise BadInputError("Send one JSON object.")
    return body


def text_in(body: dict[str, Any], name: str, default: str | None = None) -> str:
    """A text field. Raises BadInputError where it is missing and there is no default."""
    value = body.get(name, default)
    if not isinstance(value, str):
        raise BadInputError(f"The field {name} is missing.")
    return value


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."
