"""[I/O] The certificate of the hub's pages: the operator's own, or one that is made at the first start.

The made one (ECDSA P-256, signed by itself) names this machine's names and addresses; browsers warn of it
once, and its fingerprint is printed to compare. Called by `hub.web.site`.
"""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hub.errors import StartError
from hub.secret_files import read_secret, write_secret
from protocol.new_file import write_new

CERT_FILE, KEY_FILE = "web.crt", "web.key"
"""Of the certificate that is made, in the state folder."""
LIFE = timedelta(days=820)
"""Some systems refuse what lives longer than 825 days."""
RENEW = timedelta(days=30)
"""It is made anew at a start so long before its end."""
MAX_PEM_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the server shows, and what it may be called."""

    cert: Path
    key: Path
    fingerprint: str
    """SHA-256 as browsers print it."""
    names: frozenset[str]
    """Host names it is good for, in lower case; "*.lan" is every name of one more label."""
    is_made: bool = False
    """Written just now."""

    def context(self) -> ssl.SSLContext:
        """For the server. Raises StartError."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.cert, self.key, password="")
        except (ssl.SSLError, OSError) as exc:
            raise StartError(
                f"{self.cert} and {self.key} are no certificate and its key, in PEM without password"
            ) from exc
        return context


def own_certificate(cert: str, key: str) -> Certificate:
    """The operator's. Raises StartError."""
    if not cert or not key:
        raise StartError("TLS needs both web.tls_cert and web.tls_key, or neither")
    for path in (cert, key):
        if not Path(path).is_file():
            raise StartError(f"there is no file {path}, named by web.tls_cert or web.tls_key")
    return _read(Path(cert), Path(key))


def made_certificate(folder: Path, names: Sequence[str], now: datetime | None = None) -> Certificate:
    """The one in the state folder, made where there is none or it ends soon. names: besides this machine's.

    Raises StartError, SecretFileError.
    """
    now = now or datetime.now(UTC)
    cert, key = folder / CERT_FILE, folder / KEY_FILE
    if cert.is_file() and read_secret(key) is not None:
        found = _read(cert, key)
        is_fresh = _loaded(cert).not_valid_after_utc > now + RENEW
        if is_fresh and {n.lower() for n in names} <= found.names | _addresses(_loaded(cert)):
            return found
    cert.unlink(missing_ok=True)
    key.unlink(missing_ok=True)
    _make(cert, key, [*own_names(), *names], now)
    made = _read(cert, key)
    return Certificate(made.cert, made.key, made.fingerprint, made.names, is_made=True)


def own_names() -> list[str]:
    """Names and addresses of this machine that need no name server."""
    host = socket.gethostname().lower()
    found = ["localhost", "127.0.0.1", "::1", host, f"{host.partition('.')[0]}.local"]
    for family, anywhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect((anywhere, 9))  # sends nothing: it only chooses a way out
                found.append(str(probe.getsockname()[0]).partition("%")[0])
        except OSError:  # no such network here
            continue
    return list(dict.fromkeys(found))


def _make(cert: Path, key: Path, names: Sequence[str], now: datetime) -> None:
    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Veilcast hub")])
    try:
        alternatives = x509.SubjectAlternativeName([_general(name) for name in dict.fromkeys(names)])
    except ValueError as exc:
        raise StartError(f"web.names has a name that no certificate can hold: {exc}") from exc
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # a browser's clock may be behind
        .not_valid_after(now + LIFE)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(secret.public_key()), critical=False)
        .sign(secret, hashes.SHA256())
    )
    write_secret(key, secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        write_new(cert, certificate.public_bytes(Encoding.PEM), 0o644)
    except OSError as exc:
        raise StartError(f"{cert}: cannot be written: {exc.strerror}") from exc


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.lower())


def _read(cert: Path, key: Path) -> Certificate:
    loaded = _loaded(cert)
    digest = hashlib.sha256(loaded.public_bytes(Encoding.DER)).hexdigest().upper()
    fingerprint = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    try:
        names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Certificate(cert, key, fingerprint, frozenset())
    found = frozenset(name.lower() for name in names.get_values_for_type(x509.DNSName))
    return Certificate(cert, key, fingerprint, found)


def _loaded(cert: Path) -> x509.Certificate:
    """The first certificate of the file. Raises StartError."""
    try:
        with cert.open("rb") as file:
            return x509.load_pem_x509_certificates(file.read(MAX_PEM_BYTES))[0]
    except OSError as exc:
        raise StartError(f"{cert}: cannot be read: {exc.strerror}") from exc
    except (ValueError, IndexError) as exc:
        raise StartError(f"{cert}: not a certificate in PEM") from exc


def _addresses(certificate: x509.Certificate) -> frozenset[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return frozenset(str(address) for address in names.get_values_for_type(x509.IPAddress))
