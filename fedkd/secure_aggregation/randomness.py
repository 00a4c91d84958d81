"""The one source of secret randomness: keys, seeds, polynomials, nonces and rounding come from here.

No function takes a generator as an argument, so that nobody can pass a predictable one. Tests replace `token_bytes`.
"""

from __future__ import annotations

import secrets


def token_bytes(count: int) -> bytes:
    """Return `count` bytes from the operating system's generator."""
    return secrets.token_bytes(count)
