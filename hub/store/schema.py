"""The tables. `people.PeopleStore` is the only user."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table

SCHEMA_VERSION = 1
"""Raise with each change; an older store is migrated, a newer one refused."""

metadata = MetaData()

meta = Table(
    "meta", metadata,
    Column("key", String(32), primary_key=True),
    Column("value", Integer, nullable=False),
)  # fmt: skip

identities = Table(
    "identities", metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(128), nullable=False),
    # Case-folded, so that "ada" is not enrolled beside "Ada".
    Column("name_key", String(256), nullable=False, unique=True),
    Column("added_at", Float, nullable=False),
)  # fmt: skip

templates = Table(
    "templates", metadata,
    Column("id", Integer, primary_key=True),
    Column("identity", ForeignKey("identities.id", ondelete="CASCADE"), nullable=False),
    Column("model_id", String(64), nullable=False),
    Column("embedding", LargeBinary, nullable=False),
    Column("source", String(512), nullable=False),
    Column("quality", Float, nullable=False),
    Column("added_at", Float, nullable=False),
    Index("templates_by_model", "model_id"),
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
    Column("note", String(512), nullable=False),
    Index("consents_by_identity", "identity"),
)  # fmt: skip
