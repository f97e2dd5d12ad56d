"""Everything that this package raises.

ProtocolError
├── RemoteProtocolError               bad bytes, or a peer that breaks the rules
└── LocalProtocolError (ValueError)   a mistake of the caller on this side
KeyFileError                          a key file that cannot be used; the text says what to do
SettingsError                         a settings file that cannot be used; the text says what to do
"""

from __future__ import annotations


class ProtocolError(Exception):
    """A message that cannot be sent or accepted."""


class RemoteProtocolError(ProtocolError):
    """What arrived is no message of this protocol. Its text repeats nothing of what arrived."""


class LocalProtocolError(ProtocolError, ValueError):
    """This side tried to send what the protocol does not allow."""


class KeyFileError(Exception):
    """A key file that is missing, unsafe or damaged: one line for a person."""


class SettingsError(Exception):
    """A settings file that is missing or wrong: one line for a person."""
