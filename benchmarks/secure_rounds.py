"""Secure aggregation's cases: masking, and whole rounds with all clients and the server in one process."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedkd.secure_aggregation import (
    ClientPolicy,
    SecureClient,
    SecureServer,
    ServerStage,
    Session,
    SessionParameters,
    VectorLayout,
)
from fedkd.secure_aggregation.masking import BLOCK_BYTES, Mask, apply_masks

DIGEST = b"d" * 32
RING_BITS = 32


@dataclass
class Clock:
    """CPU seconds of this process, which other work on the machine does not stretch as it does wall time."""

    cpu: float = 0.0
    wall: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.cpu += time.process_time() - cpu
        self.wall += time.perf_counter() - wall


def best_of(repeats: int, work: Callable[[], object]) -> float:
    """The least CPU seconds of several runs."""
    clocks = [Clock() for _ in range(repeats)]
    for clock in clocks:
        with clock.running():
            work()
    return min(clock.cpu for clock in clocks)


def masking(num_masks: int, length: int, repeats: int = 7) -> dict[str, float]:
    """One client's masks against the bare keystream of as many bytes, in blocks of the same size."""
    vector = np.zeros(length, np.uint32)
    masks = [Mask(secrets.token_bytes(32), negative=bool(at % 2)) for at in range(num_masks)]
    zeros, buffer = bytes(BLOCK_BYTES), bytearray(BLOCK_BYTES + 15)

    def keystream() -> None:
        for mask in masks:
            stream = Cipher(algorithms.AES256(mask.seed), modes.CTR(bytes(16))).encryptor()
            for _ in range(vector.nbytes // BLOCK_BYTES):
                stream.update_into(zeros, buffer)
            stream.update_into(zeros[: vector.nbytes % BLOCK_BYTES], buffer)

    best = {"masking_cpu": float("inf"), "keystream_cpu": float("inf")}
    for _ in range(repeats):  # in turns, so that both meet the same machine
        best["masking_cpu"] = min(best["masking_cpu"], best_of(1, lambda: apply_masks(vector, masks)))
        best["keystream_cpu"] = min(best["keystream_cpu"], best_of(1, keystream))
    return best


def whole_round(num_clients: int, length: int, *, drop_outs: int = 2) -> dict[str, float]:
    """All of a round, with drop-outs after they have shared, which is when they cost most. Bytes are a survivor's."""
    weight_bits = 1 if num_clients > 64 else 10
    parameters = SessionParameters(
        Session("benchmark", 1),
        num_clients=num_clients,
        trust="curious",
        ring_bits=RING_BITS,
        value_bits=16,
        weight_bits=weight_bits,
        clipping_range=30.0,
        layout=VectorLayout(num_weights=1, values_per_weight=length - 2),
        public_set_digest=DIGEST,
        student_digest=DIGEST,
    )
    policy = ClientPolicy("curious", 30.0, 16, weight_bits)
    vector = np.random.default_rng(0).integers(0, parameters.largest_entry, length, dtype=np.uint32)
    clients = {each: SecureClient(each, policy, public_set_digest=DIGEST) for each in range(num_clients)}
    leaving = set(range(1, 1 + drop_outs))
    server, clock, sent, received = SecureServer(parameters), Clock(), 0, 0

    def answer(stage: ServerStage, client: SecureClient, request: bytes) -> bytes:
        if stage is ServerStage.MASKED_INPUTS:
            return client.mask(request, vector, student_digest=DIGEST, public_set_digest=DIGEST)
        if stage is ServerStage.ADVERTISEMENTS:
            return client.advertise(request)
        return client.share(request) if stage is ServerStage.SHARES else client.unmask(request)

    with clock.running():
        requests = server.start(clients)
        while requests:
            stage = server.stage
            for each, request in requests.items():
                received += len(request) if each == 0 else 0
                if stage is ServerStage.MASKED_INPUTS and each in leaving:
                    continue
                reply = answer(stage, clients[each], request)
                sent += len(reply) if each == 0 else 0
                server.receive(each, reply)
            requests = server.advance()
    survivors = num_clients - drop_outs
    expected = (vector.astype(np.uint64) * survivors) % 2**RING_BITS
    if not np.array_equal(server.result.total_D, expected):
        raise SystemExit("the masked sum is not the plain sum")
    return {"cpu": clock.cpu, "wall": clock.wall, "up_bytes": sent, "down_bytes": received}
