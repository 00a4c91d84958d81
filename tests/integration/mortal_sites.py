"""A program that runs sites which die where a plan says so, and starts each anew, as systemd or Docker would.

    python mortal_sites.py PLAN.json SITE.toml...

PLAN.json is a list of deaths, `[round, client, stage, "before" | "after"]`: a site kills itself by SIGKILL when it is
asked for that stage of secure aggregation, before it does anything, or after it has answered and has written down its
state and its audit log, but before its SuperNode has the answer. Every death is a line of `deaths.jsonl` beside the
plan: client and exit code. Beside its SITE.toml a site leaves what it was sent and what it answered in every round,
unmasked, as `work-ROUND.npz`.

All imports are done here, once, and sites are forked: starting one takes no longer than its SuperNode does.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from flwr.app import Context, Message

from fedkd.federation.client import Client, ClientState, Work
from fedkd.federation.messages import TrainInstruction
from fedkd.federation.secure.messages import has_request, request_from_records
from fedkd.site import serve
from fedkd.site.handler import MessageHandler
from fedkd.site.settings import load_site


def make_mortal(plan: list[list[int | str]], folder: Path) -> None:
    """Let this process's site die as planned, and leave what it did in `folder`."""
    answer, work = MessageHandler.answer, Client.work

    def answer_or_die(handler: MessageHandler, message: Message, context: Context, bundle: bytes) -> Message:
        here: list[int | str] = []
        if has_request(message.content):
            request = request_from_records(message.content)
            here = [request.server_round, handler._site.client, request.stage]
        if [*here, "before"] in plan:
            os.kill(os.getpid(), signal.SIGKILL)
        reply = answer(handler, message, context, bundle)
        if [*here, "after"] in plan:
            os.kill(os.getpid(), signal.SIGKILL)
        return reply

    def noted_work(client: Client, instruction: TrainInstruction, state: ClientState) -> Work:
        done = work(client, instruction, state)
        noted = {f"weights/{name}": array for name, array in (instruction.weights or {}).items()}
        if instruction.told is not None:
            noted["teacher"] = instruction.told.wire["values"]
        logits_NC = None if done.outgoing is None else done.outgoing.rows.values_ND
        np.savez(folder / f"work-{instruction.server_round}.npz", logits=logits_NC, **noted)
        return done

    MessageHandler.answer, Client.work = answer_or_die, noted_work  # type: ignore[method-assign]


def start(site: Path, plan: list[list[int | str]]) -> int:
    """Fork a process that is the site; returns its id."""
    if pid := os.fork():
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    make_mortal(plan, site.parent)
    log = os.open(site.parent / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    setattr(serve, "_POLL", 0.15)  # noqa: B010 - four sites that look as often as one does are work for two cores
    serve.log_to_stderr()
    serve.run_site(load_site(site))
    raise SystemExit


def main(plan_path: Path, sites: list[Path]) -> None:
    """Run the sites until SIGTERM, or until the process that wanted them is no more."""
    plan, parent = json.loads(plan_path.read_text()), os.getppid()
    torch.set_num_threads(1)
    torch.optim.SGD([torch.zeros(1)], lr=1.0)  # as a site does at its start
    running = {start(site, plan): site for site in sites}

    def stop(*_: object) -> None:
        for pid in running:
            os.kill(pid, signal.SIGTERM)
        for pid in running:
            os.waitpid(pid, 0)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    while os.getppid() == parent:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            time.sleep(0.05)
            continue
        site = running.pop(pid)
        with (plan_path.parent / "deaths.jsonl").open("a") as deaths:
            deaths.write(json.dumps([load_site(site).client, os.waitstatus_to_exitcode(status)]) + "\n")
        running[start(site, plan)] = site
    stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
