"""Keys: X25519 for one round, HKDF-SHA256 with a label for each use, AES-GCM for shares, Ed25519 identities.

A round's two key pairs have different ends: the mask key is revealed when its owner drops out, the share key never.
Every derived key depends on the transcript: parties that were told different things derive different keys.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedkd.secure_aggregation import randomness
from fedkd.secure_aggregation.errors import LowOrderKeyError, ShareDecryptionError, SignatureError

KEY_BYTES = 32
SIGNATURE_BYTES = 64
NONCE_BYTES, TAG_BYTES = 12, 16

MASK, SELF_MASK, ENCRYPT = b"fedkd/mask", b"fedkd/self-mask", b"fedkd/encrypt"
_PAIR = struct.Struct("<II")

_PADDING, _NO_KEY = bytes(32), bytes(64)
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
"""HMAC's two pads, as what they make of each byte."""

_FIELD = 2**255 - 19
_ORDER_8 = (
    0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
)
_LOW_ORDER = frozenset(
    (value + ignored_bit).to_bytes(KEY_BYTES, "little")
    for value in (0, 1, _FIELD - 1, _FIELD, _FIELD + 1, *_ORDER_8)
    for ignored_bit in (0, 1 << 255)
)
"""The u-coordinates of the curve's points of order 1, 2, 4 and 8, and of those of its twist, in all encodings."""


class KeyPair(NamedTuple):
    """An X25519 key pair, raw."""

    private: bytes
    public: bytes


def new_key_pair() -> KeyPair:
    """Draw a key pair for one round."""
    private = randomness.token_bytes(KEY_BYTES)
    return KeyPair(private, public_key(private))


def public_key(private: bytes) -> bytes:
    """The public key of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def require_sound(public_keys: Collection[bytes]) -> None:
    """Refuse public keys of low order.

    Raises:
        LowOrderKeyError: names the key.
    """
    if weak := _LOW_ORDER.intersection(public_keys):
        raise LowOrderKeyError(f"public key {min(weak).hex()} is of low order: every secret shared with it is zero")


class Agreement:
    """A private key that agrees on secrets with several public keys."""

    def __init__(self, private: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private)

    def derive(self, public: bytes, *labels: bytes) -> list[bytes]:
        """A 32-byte key for each label from the secret shared with a public key.

        Raises:
            ValueError: the public key is of low order, which `require_sound` finds before.
        """
        secret = self._private.exchange(_parsed(public))
        extracted = _extract(secret)
        return [_expand(extracted, label) for label in labels]


@lru_cache(maxsize=4096)
def _parsed(public: bytes) -> X25519PublicKey:
    """A public key as an object. Where clients share a process, each key is parsed once and not once a pair."""
    return X25519PublicKey.from_public_bytes(public)


def derive_key(secret: bytes, label: bytes) -> bytes:
    """A 32-byte key for one use of a secret."""
    return _expand(_extract(secret), label)


def _extract(secret: bytes) -> bytes:
    """HKDF-SHA256's first step without salt (RFC 5869, 2.2)."""
    return _hmac(_NO_KEY, secret)


def _expand(extracted: bytes, label: bytes) -> bytes:
    """HKDF-SHA256's second step, of which one block is one key (RFC 5869, 2.3)."""
    return _hmac(extracted + _PADDING, label + b"\1")


def _hmac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA256 by two plain hashes (RFC 2104), in half of the time that OpenSSL takes to set one up.

    Args:
        key: of one block, 64 bytes, padded with zeros.
        message: any number of bytes.
    """
    inner = sha256(key.translate(_INNER) + message).digest()
    return sha256(key.translate(_OUTER) + inner).digest()


def mask_label(transcript: bytes, own: int, peer: int) -> bytes:
    """The label of the mask that two clients share, the same for both."""
    return MASK + transcript + _PAIR.pack(min(own, peer), max(own, peer))


def encryption_label(transcript: bytes, sender: int, receiver: int) -> bytes:
    """The label of the key for shares from one client to another; the way back has another."""
    return ENCRYPT + transcript + _PAIR.pack(sender, receiver)


def seal(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Encrypt and authenticate. Returns nonce, ciphertext and tag."""
    nonce = randomness.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, associated)


def unseal(key: bytes, sealed: bytes, associated: bytes, *, sender: int) -> bytes:
    """Undo `seal`.

    Raises:
        ShareDecryptionError: it is not what the sender sealed for this use; names the sender.
    """
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except InvalidTag:
        raise ShareDecryptionError(sender, "its encrypted share fails authentication") from None


def new_identity() -> KeyPair:
    """Draw a long-lived Ed25519 identity; the public half is given to the others out of band."""
    private = randomness.token_bytes(KEY_BYTES)
    return KeyPair(private, Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw())


def sign(identity: bytes, message: bytes) -> bytes:
    """Sign with an identity's private key."""
    return Ed25519PrivateKey.from_private_bytes(identity).sign(message)


def verify(identity: bytes, signature: bytes, message: bytes, *, signer: int) -> None:
    """Check a signature with a pinned public key.

    Raises:
        SignatureError: the signature is missing, or is not the signer's over this message.
    """
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, message)
    except InvalidSignature:
        raise SignatureError(signer, "its signature does not fit its pinned identity") from None
