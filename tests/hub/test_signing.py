"""The signing key's file, and what a signature covers."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.signing import (
    SigningError,
    check,
    fingerprint,
    load,
    load_or_create,
    load_public,
    signed,
)


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "hub" / "sign.key"
    first = load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert fingerprint(load_or_create(path)) == fingerprint(first)
    assert fingerprint(load_public(path.with_suffix(".pub"))) == fingerprint(first)


def test_a_key_that_others_read_or_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sign.key"
    load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(SigningError, match=r"others may read it .* chmod 600"):
        load(path)
    path.chmod(0o600)
    for content in (b"", b"no key", b"x" * 10_000):
        path.write_bytes(content)
        with pytest.raises(SigningError, match="key file"):
            load_or_create(path)
        assert path.read_bytes() == content, "what is there is never replaced"


def test_a_signature_covers_everything_in_the_document(tmp_path: Path) -> None:
    key = load_or_create(tmp_path / "sign.key")
    document = signed(key, {"kind": "test", "n": 1})
    assert check(key.public_key(), document) == {"kind": "test", "n": 1}
    changed = [
        {**document, "n": 2},
        {**document, "more": 1},
        {k: v for k, v in document.items() if k != "n"},
        {**document, "signature": document["signature"][:-4] + "AAA="},
        {**document, "signature": "?"},
        {k: v for k, v in document.items() if k != "signature"},
    ]
    for other in changed:
        with pytest.raises(SigningError):
            check(key.public_key(), other)
    other_key = load_or_create(tmp_path / "other.key")
    with pytest.raises(SigningError, match="another key"):
        check(other_key.public_key(), document)
