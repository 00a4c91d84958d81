"""Flower's SuperNode as a child process: it talks to the SuperLink over TLS and runs no app."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fedkd.flower.internals import RUNTIME_ENVIRONMENT
from fedkd.flower.ports import free_port
from fedkd.site.settings import SiteConfig

_PROGRAM = "fedkd.flower.supernode_patches"
_GRACE = 10.0
"""Seconds in which it can tell the SuperLink that it leaves."""


@contextmanager
def supernode_process(site: SiteConfig) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a SuperNode while the block runs; yield its process, and host:port of its Runtime API."""
    host, port = "127.0.0.1", free_port()
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", _PROGRAM, *_options(site, host, port)],
        env=os.environ | RUNTIME_ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # an interrupt in the terminal must reach only this process, which ends the child
    )
    try:
        yield process, f"{host}:{port}"
    finally:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _options(site: SiteConfig, host: str, port: int) -> list[str]:
    options = ["--superlink", site.superlink, "--isolation", "process", "--host", host, "--port", str(port)]
    options += ["--node-config", f"partition-id={site.client} num-partitions={site.num_clients}"]
    if site.root_certificates is None or site.node_key is None:
        return [*options, "--insecure"]
    return [*options, "--root-certificates", site.root_certificates, "--auth-supernode-private-key", site.node_key]
