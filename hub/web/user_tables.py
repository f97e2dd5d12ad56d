"""The tables of `users.db`. `hub.web.users` is the only user."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

SCHEMA_VERSION = 1
"""Raise with each change; a newer file is refused."""

metadata = MetaData()

meta = Table(
    "meta", metadata,
    Column("key", String(32), primary_key=True),
    Column("value", String(256), nullable=False),
)  # fmt: skip

users = Table(
    "users", metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False),
    # Case-folded, so that "ann" and "Ann" are one.
    Column("name_key", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    # Node names as a JSON list; NULL is every camera, "[]" none.
    Column("cameras", String, nullable=True),
    Column("sees_names", Boolean, nullable=False),
    # Argon2id with salt and costs; NULL before a link was used.
    Column("password", String(256), nullable=True),
    Column("added_at", Float, nullable=False),
)  # fmt: skip

sessions = Table(
    "sessions", metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("user", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("began_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Index("sessions_by_user", "user"),
)  # fmt: skip

devices = Table(
    "devices", metadata,
    # Browsers that have signed in before.
    Column("digest", LargeBinary(32), primary_key=True),
    Column("user", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("at", Float, nullable=False),
    Index("devices_by_user", "user"),
)  # fmt: skip

links = Table(
    "links", metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    # NULL: makes the first admin.
    Column("user", ForeignKey("users.id", ondelete="CASCADE"), nullable=True),
    Column("ends_at", Float, nullable=False),
)  # fmt: skip

happenings = Table(
    "happenings", metadata,
    # Changes of users that the audit log has not been told yet.
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("by", String(80), nullable=False),
    Column("what", String(32), nullable=False),
    Column("facts", String, nullable=False),
)  # fmt: skip
