"""The peer: Flower's own SecAgg functions, put together as its `secaggplus_mod` and `SecAggPlusWorkflow` do.

All clients do the same work, so one client is measured in full and multiplied; so is what the server does for one
survivor and for one drop-out. Training, messages and logging are left out.
"""

from __future__ import annotations

import secrets

import numpy as np
from flwr.common import ndarray_to_bytes
from flwr.common.secure_aggregation.crypto.shamir import combine_shares, create_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, encrypt, generate_shared_key
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_combine,
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_utils import (
    pseudo_rand_gen,
    share_keys_plaintext_concat,
    share_keys_plaintext_separate,
)
from flwr.supercore.primitives.asymmetric import generate_key_pairs, private_key_to_bytes, public_key_to_bytes

from benchmarks.secure_rounds import Clock, best_of

MODULUS, TARGET_RANGE, CLIPPING_RANGE = 1 << 32, 1 << 16, 30.0


class _Client:
    """The keys of one client."""

    def __init__(self) -> None:
        self.mask_private, self.mask_public = generate_key_pairs()
        self.share_private, self.share_public = generate_key_pairs()

    def public_bytes(self) -> int:
        return len(public_key_to_bytes(self.mask_public)) + len(public_key_to_bytes(self.share_public))


def _expand(seed: bytes, length: int) -> list[np.ndarray]:
    return pseudo_rand_gen(seed, MODULUS, [(), (length,)])


def whole_round(num_clients: int, length: int, *, drop_outs: int = 2) -> dict[str, float]:
    """CPU seconds of a round with the default threshold of Flower's workflow, two thirds rounded up, and its bytes."""
    threshold = -(-2 * num_clients // 3)
    peers = num_clients - 1
    client, peer = _Client(), _Client()
    vector = [np.random.default_rng(0).normal(0, 10, length)]
    clocks = {name: Clock() for name in ("keys", "share", "mask", "server, survivor", "server, drop-out")}

    with clocks["keys"].running():
        _Client()

    seed, private = secrets.token_bytes(32), private_key_to_bytes(client.mask_private)
    with clocks["share"].running():
        seed_shares = create_shares(seed, threshold, num_clients)
        key_shares = create_shares(private, threshold, num_clients)
        for at in range(peers):
            key = generate_shared_key(client.share_private, peer.share_public)
            sealed = encrypt(key, share_keys_plaintext_concat(0, 1, seed_shares[at], key_shares[at]))

    with clocks["mask"].running():
        for _ in range(peers):
            share_keys_plaintext_separate(decrypt(key, sealed))
        masked = factor_combine(1, quantize(vector, CLIPPING_RANGE, TARGET_RANGE))
        masked = parameters_addition(masked, _expand(seed, length))
        for at in range(peers):
            mask = _expand(generate_shared_key(client.mask_private, peer.mask_public), length)
            masked = parameters_addition(masked, mask) if at % 2 else parameters_subtraction(masked, mask)
        masked = parameters_mod(masked, MODULUS)
        uploaded = [ndarray_to_bytes(each) for each in masked]

    total = masked
    with clocks["server, survivor"].running():
        combine_shares(seed_shares[:threshold])
        total = parameters_addition(total, masked)
        total = parameters_subtraction(total, _expand(seed, length))

    with clocks["server, drop-out"].running():
        combine_shares(key_shares[:threshold])
        for _ in range(peers):
            total = parameters_addition(
                total, _expand(generate_shared_key(client.mask_private, peer.mask_public), length)
            )

    survivors = num_clients - drop_outs
    times = {
        "keys": num_clients,
        "share": num_clients,
        "mask": survivors,
        "server, survivor": survivors,
        "server, drop-out": drop_outs,
    }
    unmasking = survivors * len(seed_shares[0]) + drop_outs * len(key_shares[0])
    sent = client.public_bytes() + peers * len(sealed) + sum(map(len, uploaded)) + unmasking
    return {
        "cpu": sum(clocks[name].cpu * count for name, count in times.items()),
        **{f"cpu {name}": clocks[name].cpu * count for name, count in times.items()},
        "measured_cpu": sum(clock.cpu for clock in clocks.values()),
        "up_bytes": sent,
        "down_bytes": num_clients * client.public_bytes() + peers * len(sealed),
    }


def mask_expansion(num_masks: int, length: int) -> float:
    """The least CPU seconds in which Flower expands one mask and adds it, times the masks."""
    total = [np.zeros((), np.int64), np.zeros(length, np.int64)]
    return num_masks * best_of(
        min(num_masks, 7), lambda: parameters_addition(total, _expand(secrets.token_bytes(32), length))
    )
