"""A small authority of one's own, the server's certificates, and the clients' node keys.

Keys are elliptic: P-256 for TLS, P-384 for nodes, as Flower recommends. A key that is there is never written again.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedkd.deploy.private_files import make_private_folder, write_if_other, write_once
from fedkd.errors import ConfigError
from fedkd.storage.files import read_bytes

AUTHORITY_YEARS = 10
CERTIFICATE_DAYS = 730
SECRET_BYTES = 32


def make_authority(folder: Path) -> None:
    """Make an authority's key and certificate: `ca.key` and `ca.crt`.

    Raises:
        RunFolderError: they cannot be written.
    """
    make_private_folder(folder)
    key = _tls_key(folder / "ca.key")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedkd deployment")])
    builder = (
        _certificate(name, name, key.public_key(), timedelta(days=365 * AUTHORITY_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )
    write_once(folder / "ca.crt", builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))


def make_certificate(authority: Path, folder: Path, name: str, hosts: Sequence[str]) -> None:
    """Make a server's key and certificate, `NAME.key` and `NAME.crt`, valid for names and addresses.

    Raises:
        ConfigError: the authority's files do not belong to an authority.
        RunFolderError: they cannot be written.
    """
    make_private_folder(folder)
    key = _tls_key(folder / f"{name}.key")
    issuer, issuer_key = read_certificate(authority / "ca.crt"), _read_key(authority / "ca.key")
    builder = (
        _certificate(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])]),
            issuer.subject,
            key.public_key(),
            timedelta(days=CERTIFICATE_DAYS),
        )
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    write_once(folder / f"{name}.crt", builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM))


def make_node_key(folder: Path) -> None:
    """Make the key by which Flower knows a client, `node.key`, and its public half, `node.pub`, as OpenSSH writes them.
    A private key that is there stays; the public half follows from it.

    Raises:
        ConfigError: a key that is there cannot be read, or is not elliptic.
        RunFolderError: they cannot be written.
    """
    make_private_folder(folder)
    path = folder / "node.key"
    if not path.exists():
        made = ec.generate_private_key(ec.SECP384R1())
        write_once(path, made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    public = _read_node_key(path).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    write_if_other(folder / "node.pub", public + b"\n")


def make_secret(path: Path) -> None:
    """Make a file of random bytes that SuperLink and server app share.

    Raises:
        RunFolderError: it cannot be written.
    """
    write_once(path, secrets.token_hex(SECRET_BYTES).encode())


def read_certificate(path: Path) -> x509.Certificate:
    """Read a certificate.

    Raises:
        ConfigError: the file holds none.
        RunFolderError: it cannot be read.
    """
    try:
        return x509.load_pem_x509_certificate(read_bytes(path))
    except ValueError as cause:
        raise ConfigError("DIR", str(path), f"a certificate as PEM ({cause})") from cause


def days_left(certificate: Path) -> int:
    """Days until a certificate expires; negative after."""
    return (read_certificate(certificate).not_valid_after_utc - datetime.now(UTC)).days


def _tls_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key in a file, which is made where there is none."""
    key = ec.generate_private_key(ec.SECP256R1())
    if write_once(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())):
        return key
    return _read_key(path)


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(read_bytes(path), password=None)
    except (ValueError, TypeError) as cause:
        raise ConfigError("DIR", str(path), f"a private key as PEM, without a password ({cause})") from cause
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError("DIR", str(path), "an elliptic-curve private key")
    return key


def _read_node_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_ssh_private_key(read_bytes(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(
            "node.key", str(path), "an elliptic-curve private key in OpenSSH's format, without a password"
        )
    return key


def _certificate(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, lifetime: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
