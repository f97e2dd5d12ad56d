"""The tables. `hub.store` is the only user; `migrate` knows the older ones.

What is personal beside a name is sealed (`LargeBinary`) with the identity's key; see `sealing`.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table

SCHEMA_VERSION = 2
"""Raise with each change; an older store is migrated, a newer one refused."""

metadata = MetaData()

meta = Table(
    "meta", metadata,
    Column("key", String(32), primary_key=True),
    Column("value", Integer, nullable=False),
)  # fmt: skip

vault = Table(
    "vault", metadata,
    # Which hub key wraps the keys below; one row.
    Column("key_id", String(32), primary_key=True),
)  # fmt: skip

identities = Table(
    "identities", metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(128), nullable=False),
    # Case-folded, so that "ada" is not enrolled beside "Ada".
    Column("name_key", String(256), nullable=False, unique=True),
    Column("added_at", Float, nullable=False),
)  # fmt: skip

identity_keys = Table(
    "identity_keys", metadata,
    Column("identity", ForeignKey("identities.id", ondelete="CASCADE"), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
)  # fmt: skip

templates = Table(
    "templates", metadata,
    Column("id", Integer, primary_key=True),
    # What is sealed is bound to this: unlike `id` it is never given twice, on any hub.
    Column("uid", String(32), nullable=False, unique=True),
    Column("identity", ForeignKey("identities.id", ondelete="CASCADE"), nullable=False),
    Column("model_id", String(64), nullable=False),
    Column("embedding", LargeBinary, nullable=False),
    Column("source", LargeBinary, nullable=False),
    Column("quality", Float, nullable=False),
    Column("added_at", Float, nullable=False),
    Index("templates_by_model", "model_id"),
    Index("templates_by_identity", "identity"),
)  # fmt: skip

photos = Table(
    "photos", metadata,
    # Only where somebody asked to keep them.
    Column("template", ForeignKey("templates.uid", ondelete="CASCADE"), primary_key=True),
    Column("identity", ForeignKey("identities.id", ondelete="CASCADE"), nullable=False),
    Column("jpeg", LargeBinary, nullable=False),
    Index("photos_by_identity", "identity"),
)  # fmt: skip

consents = Table(
    "consents", metadata,
    Column("id", String(32), primary_key=True),
    Column("identity", ForeignKey("identities.id", ondelete="CASCADE"), nullable=False),
    Column("granted_at", Float, nullable=False),
    Column("until", Float, nullable=True),
    Column("withdrawn_at", Float, nullable=True),
    # Node names as a JSON list; "[]" is every camera.
    Column("cameras", String, nullable=False),
    # Sealed together with the terms beside it: changed terms do not open.
    Column("note", LargeBinary, nullable=False),
    Index("consents_by_identity", "identity"),
)  # fmt: skip

ended = Table(
    "ended", metadata,
    # Opaque ids of erased identities and withdrawn consents: no backup brings them back.
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("at", Float, nullable=False),
    # Of an erasure, signed; see hub/receipts.py.
    Column("receipt", String, nullable=True),
)  # fmt: skip
