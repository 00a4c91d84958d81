"""What a step of the distiller costs, against a torch loop of the same loss written by hand, in one process.

    python benchmarks/distiller.py
    python benchmarks/distiller.py --quick    # whether it runs, not how fast

Both train the same student on the same batches and end with the same bits. Passes alternate, so that whatever else the
machine does falls on both; the ratio is that of the medians of CPU seconds. Exits with 1 where the bits differ.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from fedkd.distillation import DistillationConfig, Distiller, ObjectiveConfig, PublicBatch, Term, answered_by
from fedkd.losses import attention_loss
from fedkd.models.registry import build_model
from fedkd.seeding import derive_seed
from fedkd.training.loop import batches

TARGET = 1.10
LAYER = "features.2"
CASES = ("kl", "kl and labels", "kl and attention")


def distil_by_hand(model: nn.Module, public: PublicBatch, config: DistillationConfig, case: str) -> None:
    """T = 4; the loss of each case, with nothing around it but what a person would write."""
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    rng = torch.Generator().manual_seed(derive_seed(0, "order"))
    seen: list[Tensor] = []
    hook = model.get_submodule(LAYER).register_forward_hook(lambda *args: seen.append(args[2]))
    if case != "kl and attention":
        hook.remove()
    for _ in range(config.epochs):
        model.train()
        for index in batches(len(public.images_NCHW), config.batch_size, rng):
            optimizer.zero_grad(set_to_none=True)
            logits = model(public.images_NCHW[index])
            log_probs = F.log_softmax(logits / 4, dim=1)
            targets = F.log_softmax(public.teacher_logits_NC[index] / 4, dim=1)
            loss = 16 * F.kl_div(log_probs, targets, reduction="batchmean", log_target=True)
            if case == "kl and labels":
                loss = torch.lerp(F.cross_entropy(logits, public.labels_N[index]), loss, 0.5)
            if case == "kl and attention":
                ours, theirs = (looked_at(maps) for maps in (seen.pop(), public.teacher_features[LAYER][index]))
                loss = loss + (ours - theirs).square().sum() / len(index)
            loss.backward()
            optimizer.step()
    hook.remove()
    model.eval()
    with torch.inference_mode():
        answers = torch.cat([model(images).argmax(dim=1) for images in torch.split(public.images_NCHW, 512)])
    (answers == public.teacher_logits_NC.argmax(dim=1)).double().mean().item()


def looked_at(maps_NCHW: Tensor) -> Tensor:
    return F.normalize(maps_NCHW.square().sum(dim=1).flatten(1), dim=1)


def distil(model: nn.Module, public: PublicBatch, config: DistillationConfig, case: str) -> None:
    terms = [Term(attention_loss, LAYER, LAYER)] if case == "kl and attention" else []
    objective = ObjectiveConfig(temperature=4.0, alpha=0.5 if case == "kl and labels" else 1.0)
    Distiller(model, config.model_copy(update={"objective": objective}), terms=terms).distil(public, seed=0)


def cpu_seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def compare(case: str, public: PublicBatch, config: DistillationConfig, repeat: int) -> tuple[float, float, bool]:
    """Seconds of the distiller, seconds of the loop by hand, and whether they end with the same bits."""
    start = build_model("cnn", (1, 28, 28), 10, seed=1)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    students = {}
    for number in range(repeat):
        for by_hand in (True, False) if number % 2 else (False, True):
            model, work = copy.deepcopy(start), distil_by_hand if by_hand else distil
            seconds[by_hand].append(cpu_seconds(lambda: work(model, public, config, case)))  # noqa: B023
            students[by_hand] = model.state_dict()
    same = all(torch.equal(value, students[True][key]) for key, value in students[False].items())
    return median(seconds[False]), median(seconds[True]), same


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where results that must be equal are not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs")
    quick = parser.parse_args(arguments).quick
    torch.set_num_threads(1)
    config = DistillationConfig(epochs=1 if quick else 3, batch_size=64)
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(128 if quick else 1920, 1, 28, 28, generator=rng)
    labels = torch.randint(10, (len(images),), generator=rng)
    public = answered_by(build_model("cnn", (1, 28, 28), 10, seed=2), images, labels, [LAYER])
    distil_by_hand(build_model("cnn", (1, 28, 28), 10, seed=1), public, config, "kl")  # torch warms up
    print("| loss | by hand, CPU s | distiller, CPU s | ratio | target | met |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    all_same = True
    for case in CASES:
        ours, theirs, same = compare(case, public, config, 1 if quick else 7)
        met = "yes" if ours <= TARGET * theirs else "NO"
        print(f"| {case} | {theirs:.2f} | {ours:.2f} | {ours / theirs:.3f} | <= {TARGET:.2f} | {met} |", flush=True)
        all_same = all_same and same
    print(f"\nThe same bits of the student in every case: {'yes' if all_same else 'NO'}.")
    return 0 if all_same else 1


if __name__ == "__main__":
    sys.exit(main())
