"""The signing key is private, lasts, and is never replaced by accident."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hub.secret_files import SecretFileError, overwrite, write_secret
from hub.signing import fingerprint, load, load_or_create, public_bytes


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "state" / "sign.key"
    assert load(path) is None
    key = load_or_create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    again = load_or_create(path)
    assert public_bytes(again) == public_bytes(key)
    Ed25519PublicKey.from_public_bytes(public_bytes(again)).verify(key.sign(b"text"), b"text")
    assert len(fingerprint(public_bytes(key))) == 32


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sign.key"
    load_or_create(path)
    path.chmod(0o640)
    with pytest.raises(SecretFileError, match="chmod 600"):
        load_or_create(path)


@pytest.mark.parametrize("data", [b"", b"no key", b"x" * 5_000])
def test_what_is_no_key_is_refused_and_kept(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "sign.key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(SecretFileError) as caught:
        load_or_create(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == data


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sign.key"
    key = X25519PrivateKey.generate()
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SecretFileError, match="Ed25519"):
        load_or_create(path)


def test_a_secret_is_never_written_over_another(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    write_secret(path, b"one")
    with pytest.raises(SecretFileError, match="not overwritten"):
        write_secret(path, b"two")
    assert path.read_bytes() == b"one"
    assert [p.name for p in tmp_path.iterdir()] == ["a.key"], "no draft is left"


def test_overwriting_leaves_zeros(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    write_secret(path, b"secret")
    overwrite(path)
    assert path.read_bytes() == bytes(6)
    overwrite(tmp_path / "none.key")
