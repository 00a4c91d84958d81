"""Fixed vectors: what a second implementation must compute. Secrets are drawn from a counter instead of the system.

Where the protocol changes on purpose, delete the file and run this test once: it writes the file anew, and fails.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from fedkd.secure_aggregation import ServerStage, VectorLayout, keys, randomness, shamir
from fedkd.secure_aggregation.client_work import self_mask_seed
from fedkd.secure_aggregation.masking import keystream_bytes

VECTORS = Path(__file__).parents[2] / "vectors" / "secure_aggregation.json"


@pytest.fixture
def counted(monkeypatch):
    """Draw from SHA-256 over a counter."""
    drawn = 0

    def token_bytes(count):
        nonlocal drawn
        blocks = b""
        while len(blocks) < count:
            blocks += hashlib.sha256(b"vectors" + drawn.to_bytes(8, "big")).digest()
            drawn += 1
        return blocks[:count]

    monkeypatch.setattr(randomness, "token_bytes", token_bytes)


def compute(make_round):
    pairs = [keys.new_key_pair() for _ in range(2)]
    transcript = hashlib.sha256(b"transcript").digest()
    label = keys.mask_label(transcript, 3, 10)
    (mask_seed,) = keys.Agreement(pairs[0].private).derive(pairs[1].public, label)
    secret = hashlib.sha256(b"secret").digest()
    running = make_round(4, trust="active", layout=VectorLayout(2, 2, 1))
    running.run({ServerStage.SHARES: {17}})
    return {
        "key_pairs": [[pair.private.hex(), pair.public.hex()] for pair in pairs],
        "transcript": transcript.hex(),
        "mask": {"clients": [3, 10], "seed": mask_seed.hex(), "keystream": keystream_bytes(mask_seed, 64).hex()},
        "self_mask": {"secret": secret.hex(), "seed": self_mask_seed(secret, transcript).hex()},
        "shares": {
            "secret": secret.hex(),
            "threshold": 3,
            "shares": [f"{share:066x}" for share in shamir.split(secret, threshold=3, num_shares=5)],
        },
        "round": {
            "identities": {str(client): private.hex() for client, private in running.private.items()},
            "inputs": {str(client): vector.tolist() for client, vector in running.vectors.items()},
            "requests": messages(running.requests),
            "replies": messages(running.replies),
            "total": running.require_exact().total_D.tolist(),
        },
    }


def messages(by_stage):
    return {
        stage.value: {str(client): data.hex() for client, data in by_client.items()}
        for stage, by_client in by_stage.items()
    }


@pytest.mark.usefixtures("counted")
def test_vectors_are_as_fixed(make_round):
    computed = compute(make_round)
    if not VECTORS.exists():
        VECTORS.write_text(json.dumps(computed, indent=1) + "\n")
        pytest.fail(f"{VECTORS.name} was missing and has been written; look at what has changed")
    assert computed == json.loads(VECTORS.read_text())


def test_fixed_shares_lie_on_one_polynomial():
    """The fixed shares, checked without this package's own interpolation."""
    fixed = json.loads(VECTORS.read_text())["shares"]
    shares, prime = [int(share, 16) for share in fixed["shares"]], 2**256 + 297
    thirds = [(shares[at + 3] - 3 * shares[at + 2] + 3 * shares[at + 1] - shares[at]) % prime for at in range(2)]
    assert thirds == [0, 0]  # third differences of a parabola
    assert (3 * shares[0] - 3 * shares[1] + shares[2]) % prime == int(fixed["secret"], 16)


def test_fixed_total_is_the_survivors_sum():
    fixed = json.loads(VECTORS.read_text())["round"]
    survivors = fixed["replies"]["unmasking shares"]
    assert list(survivors) == ["3", "10", "24"]
    assert fixed["total"] == [sum(entries) for entries in zip(*(fixed["inputs"][c] for c in survivors), strict=True)]
