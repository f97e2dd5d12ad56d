"""What the audit log can tell a person is wrong.

AuditError          one clear line (a HubError): the log cannot be read or written, or does not hold
└── SealError       a document's signature does not fit
"""

from __future__ import annotations

from hub.errors import HubError


class AuditError(HubError):
    """One clear line: what is wrong with the audit log and what to do."""


class SealError(AuditError):
    """A signed document was changed, is none, or is signed with another key."""
