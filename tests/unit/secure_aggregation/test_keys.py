"""Keys and ciphers against other implementations, and everything a weak or false one must run into."""

from __future__ import annotations

import pickle
from itertools import permutations

import numpy as np
import pytest
from Crypto.Cipher import AES
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedkd.secure_aggregation import errors, keys
from fedkd.secure_aggregation.masking import BLOCK_BYTES, Mask, apply_masks, keystream_bytes, pairwise_mask

# RFC 7748, section 6.1
ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
ALICE_PUBLIC = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
BOB_PUBLIC = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
SHARED = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")

FIELD = 2**255 - 19
ORDER_8 = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
LOW_ORDER = [n.to_bytes(32, "little") for n in (0, 1, *ORDER_8, FIELD - 1, FIELD, FIELD + 1)]


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 by `cryptography`."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def test_agreement_is_x25519_and_hkdf():
    assert (keys.public_key(ALICE), keys.public_key(BOB)) == (ALICE_PUBLIC, BOB_PUBLIC)
    derived = keys.Agreement(ALICE).derive(BOB_PUBLIC, b"one", b"two")
    assert derived == [hkdf(SHARED, b"one"), hkdf(SHARED, b"two")]
    assert keys.Agreement(BOB).derive(ALICE_PUBLIC, b"one", b"two") == derived


def test_every_use_has_its_own_label():
    transcript = b"t" * 32
    labels = [
        keys.mask_label(transcript, 3, 10),
        keys.encryption_label(transcript, 3, 10),
        keys.encryption_label(transcript, 10, 3),
        keys.mask_label(transcript, 3, 17),
        keys.mask_label(b"u" * 32, 3, 10),
        keys.SELF_MASK + transcript,
    ]
    assert not any(one.startswith(other) for one, other in permutations(labels, 2))
    assert keys.mask_label(transcript, 10, 3) == labels[0]


@pytest.mark.parametrize("public", LOW_ORDER)
@pytest.mark.parametrize("ignored_bit", [0, 0x80])
def test_low_order_keys_are_refused_and_are_of_low_order(public, ignored_bit):
    public = bytes([*public[:-1], public[-1] | ignored_bit])
    with pytest.raises(errors.LowOrderKeyError, match=public.hex()):
        keys.require_sound([BOB_PUBLIC, public])
    with pytest.raises(ValueError, match="shared key"):
        keys.Agreement(ALICE).derive(public, b"any")


def test_sealed_shares_open_for_their_use_only():
    sealed = keys.seal(b"k" * 32, b"secret", b"here")
    assert keys.unseal(b"k" * 32, sealed, b"here", sender=3) == b"secret"
    for key, associated in ((b"l" * 32, b"here"), (b"k" * 32, b"there")):
        with pytest.raises(errors.ShareDecryptionError, match="client 3"):
            keys.unseal(key, sealed, associated, sender=3)
    opened = AES.new(b"k" * 32, AES.MODE_GCM, nonce=sealed[:12]).update(b"here")
    assert opened.decrypt_and_verify(sealed[12:-16], sealed[-16:]) == b"secret"


def test_signatures_name_their_signer():
    identity, other = keys.new_identity(), keys.new_identity()
    signature = keys.sign(identity.private, b"message")
    keys.verify(identity.public, signature, b"message", signer=3)
    for public, message in ((other.public, b"message"), (identity.public, b"massage")):
        with pytest.raises(errors.SignatureError) as caught:
            keys.verify(public, signature, message, signer=3)
        assert caught.value.client == 3


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("length", [1, 5, BLOCK_BYTES // 8, BLOCK_BYTES // 4 + 1, 3 * BLOCK_BYTES // 4 + 7])
def test_masks_are_aes_256_ctr(length, dtype):
    seeds = [bytes([at]) * 32 for at in range(3)]
    vector = np.arange(length, dtype=dtype)
    apply_masks(vector, [Mask(seeds[0]), Mask(seeds[1], negative=True), Mask(seeds[2])])
    size = length * vector.dtype.itemsize
    streams = [
        np.frombuffer(AES.new(seed, AES.MODE_CTR, nonce=b"", initial_value=0).encrypt(bytes(size)), dtype)
        for seed in seeds
    ]
    np.testing.assert_array_equal(vector, np.arange(length, dtype=dtype) + streams[0] - streams[1] + streams[2])
    assert keystream_bytes(seeds[0], size) == streams[0].tobytes()


def test_pairwise_masks_cancel_out():
    vector = np.arange(9, dtype=np.uint32)
    ours, theirs = pairwise_mask(b"s" * 32, 3, 10), pairwise_mask(b"s" * 32, 10, 3)
    apply_masks(vector, [ours, theirs])
    assert vector.tolist() == list(range(9))
    assert ours.inverse() == theirs


def test_fault_of_a_client_survives_pickling():
    error = pickle.loads(pickle.dumps(errors.ShareDecryptionError(3, "tampered with")))  # noqa: S301 - our own bytes
    assert (type(error), error.client, str(error)) == (
        errors.ShareDecryptionError,
        3,
        "client 3: tampered with",
    )
