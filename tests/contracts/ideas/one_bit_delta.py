"""One-bit labels with delta coding (CFD, Sattler et al. 2022): the chosen class of each sample, and only where it has
changed since the last round that was used: `payload.encoding = "one_bit_delta:OneBitDelta"`.
"""

import numpy as np

from fedkd.payload import Codec, Rows


class OneBitDelta(Codec):
    """One bit a key, and one byte for each class that has changed."""

    def encode(self, rows: Rows, memory):
        """Votes that are new or other than before."""
        votes_N = rows.values_ND.argmax(axis=1).astype(np.uint8)
        changed_N = known_votes(memory, rows.keys_N) != votes_N
        return {"changed": np.packbits(changed_N), "votes": votes_N[changed_N]}, remembered(rows.keys_N, votes_N)

    def decode(self, wire, keys_N, width, memory):
        """Each vote as a distribution that is nearly sure."""
        votes_N = known_votes(memory, keys_N)
        votes_N[np.unpackbits(wire["changed"], count=len(keys_N)).astype(bool)] = wire["votes"]
        probs_NC = np.eye(width)[votes_N] * (1 - 1e-3) + 1e-3 / width
        return np.log(probs_NC).astype(np.float32), remembered(keys_N, votes_N)


def known_votes(memory, keys_N):
    """The last votes for these keys; −1 for none."""
    known = dict(zip(memory.get("keys", []), memory.get("votes", []), strict=True))
    return np.array([known.get(key, -1) for key in keys_N], np.int64)


def remembered(keys_N, votes_N):
    """What both ends keep."""
    return {"keys": np.asarray(keys_N), "votes": np.asarray(votes_N)}
