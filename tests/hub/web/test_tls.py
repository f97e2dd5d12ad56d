"""The certificate that is made, and the operator's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from hub.errors import StartError
from hub.secret_files import SecretFileError
from hub.web.tls import LIFE, RENEW, made_certificate, own_certificate, own_names

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def loaded(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_one_is_made_once_private_and_for_this_machine(tmp_path: Path) -> None:
    made = made_certificate(tmp_path, ["hub.lan", "10.1.2.3"], NOW)
    assert made.is_made
    assert made.key.stat().st_mode & 0o777 == 0o600
    certificate = loaded(made.cert)
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"localhost", "hub.lan"} <= set(names.get_values_for_type(x509.DNSName)) == set(made.names)
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {"127.0.0.1", "::1", "10.1.2.3"} <= addresses
    assert len(made.fingerprint) == 95
    again = made_certificate(tmp_path, ["HUB.lan"], NOW + timedelta(days=1))
    assert not again.is_made
    assert again.fingerprint == made.fingerprint
    assert made.context() is not None


def test_it_is_made_anew_before_its_end_and_for_a_new_name(tmp_path: Path) -> None:
    first = made_certificate(tmp_path, [], NOW)
    assert (
        made_certificate(tmp_path, [], NOW + LIFE - RENEW - timedelta(hours=1)).fingerprint
        == first.fingerprint
    )
    second = made_certificate(tmp_path, [], NOW + LIFE - RENEW + timedelta(hours=1))
    assert second.fingerprint != first.fingerprint
    third = made_certificate(tmp_path, ["other.lan"], NOW + LIFE)
    assert "other.lan" in third.names
    third.key.unlink()
    assert made_certificate(tmp_path, ["other.lan"], NOW + LIFE).is_made, "a lost key"


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    made_certificate(tmp_path, [], NOW).key.chmod(0o644)
    with pytest.raises(SecretFileError, match="chmod 600"):
        made_certificate(tmp_path, [], NOW)


def test_own_files_are_checked_with_one_line(tmp_path: Path) -> None:
    made = made_certificate(tmp_path / "a", [], NOW)
    other = made_certificate(tmp_path / "b", [], NOW)
    with pytest.raises(StartError, match=r"both web\.tls_cert and web\.tls_key"):
        own_certificate(str(made.cert), "")
    with pytest.raises(StartError, match="there is no file"):
        own_certificate(str(made.cert), str(tmp_path / "nothing"))
    with pytest.raises(StartError, match="not a certificate"):
        own_certificate(str(made.key), str(made.key))
    with pytest.raises(StartError, match="no certificate and its key"):
        own_certificate(str(made.cert), str(other.key)).context()
    found = own_certificate(str(made.cert), str(made.key))
    assert found.names == made.names
    assert not found.is_made


def test_a_name_that_cannot_be_one_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"web\.names"):
        made_certificate(tmp_path, ["hüb.lan"], NOW)


def test_this_machine_has_names() -> None:
    assert {"localhost", "127.0.0.1", "::1"} <= set(own_names())
