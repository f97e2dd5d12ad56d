"""What the hub's shell can tell a person is wrong.

HubError            one clear line: what is wrong and what to do
├── StartError      a part of the hub could not be started (address, key, store, model)
└── DeclinedError   a request of a peer that is answered with a Refusal
"""

from __future__ import annotations

from protocol.messages import RefusalCode


class HubError(Exception):
    """One clear line for a person: what is wrong and what to do."""


class StartError(HubError):
    """A part of the hub could not be started."""


class DeclinedError(HubError):
    """What was asked for is not done; `code` and the text travel back in a Refusal."""

    def __init__(self, code: RefusalCode, text: str, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.code: RefusalCode = code
        self.retry_after_s = retry_after_s
