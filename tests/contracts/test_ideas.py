"""Eight ideas that researchers bring, each a file of at most forty lines in `ideas/`, and none an edit of fedkd.

Every idea runs on the local engine and on Ray with equal bits, and ends with equal bytes when it is stopped and
resumed; those that need only sums also run under masks, within the resolution of what they say in clear.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fedkd
from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.engines.simulation import simulate
from fedkd.errors import ConfigError
from fedkd.experiment import RunObserver, resume
from fedkd.federation.answers import RoundArrays
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult
from fedkd.records import RoundRecord
from fedkd.storage.run_store import RunStore

FOLDER = Path(__file__).parent / "ideas"
IDEAS: dict[str, dict[str, Any]] = {
    "trust_over_rounds": {
        "method": {"aggregator": {"name": "trust_over_rounds:TrustOverRounds", "eta": 2.0}},
        "attack": {"clients": [0], "lie": "least_likely"},
    },
    "federated_distillation": {"method": {"name": "federated_distillation:build"}},
    "selective_fd": {"method": {"upload": "selective_fd:selective_logits"}},
    "soft_label_cache": {
        "method": {"refine": [{"name": "soft_label_cache:SoftLabelCache", "duration": 2}], "public_per_round": 30}
    },
    "fedet": {
        "method": {"name": "fedet:build"},
        "student": {"model": "cnn", "objective": {"loss": "fedet:consensus_and_diversity"}},
    },
    "gaussian_noise": {
        "payload": {
            "steps": [
                {"name": "clip_norm", "clipping_norm": 20.0},
                {"name": "gaussian_noise:Noise", "noise_multiplier": 0.05},
            ]
        }
    },
    "lying_client": {"attack": {"clients": [0], "lie": "lying_client:Opposite"}},
    "one_bit_delta": {"payload": {"encoding": "one_bit_delta:OneBitDelta"}},
}
SUMS = ("federated_distillation", "selective_fd", "soft_label_cache", "gaussian_noise", "lying_client")
every_idea = pytest.mark.parametrize("idea", IDEAS)


@pytest.fixture(autouse=True, scope="module")
def _importable() -> Iterator[None]:
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


def config_of(idea: str, /, **sections: Any) -> ExperimentConfig:
    values: dict[str, Any] = {
        "run": {"rounds": 4, "baselines": False},
        "data": {"train_size": 160, "test_size": 80, "public": {"size": 40}, "partition": {"min_size": 8}},
        "clients": {"number": 4, "models": ["mlp"]},
        "training": {"epochs": 1},
        "student": {"model": "mlp", "epochs": 2},
        "secure_aggregation": {"value_bits": 20, "ring_bits": 64, "weight_bits": 16},
    }
    for section, changes in (*IDEAS[idea].items(), *sections.items()):
        values[section] = values.get(section, {}) | changes
    return parse_config(values)


class Teachers(Observer):
    """Keeps the teacher of every round."""

    def __init__(self) -> None:
        self.rounds: list[RoundArrays] = []

    def on_arrays(self, server_round: int, arrays: RoundArrays) -> None:
        self.rounds.append(arrays)


def run(config: ExperimentConfig) -> tuple[FederationResult, list[RoundArrays]]:
    teachers = Teachers()
    return simulate(config, teachers), teachers.rounds


def code_lines(source: str) -> int:
    """Lines that are neither blank nor part of a docstring."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            documented |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(bool(line.strip()) and number not in documented for number, line in lines)


@every_idea
def test_an_idea_takes_at_most_forty_lines(idea: str) -> None:
    """Docstrings and blank lines are not counted."""
    assert code_lines((FOLDER / f"{idea}.py").read_text(encoding="utf-8")) <= 40


@every_idea
def test_an_idea_runs_on_both_engines_with_equal_bits(idea: str, ray_on_this_machine: None) -> None:
    """What the parts remember lies with the server and in the clients' contexts, wherever these are."""
    (here, teachers), (there, elsewhere) = run(config_of(idea)), run(config_of(idea, run={"engine": "ray"}))
    assert [record.completed for record in here.history] == [True] * 4
    assert without_seconds(here.history) == without_seconds(there.history)
    for mine, other in zip(teachers, elsewhere, strict=True):
        assert mine.teacher is not None
        assert other.teacher is not None
        assert mine.teacher.values_ND.tobytes() == other.teacher.values_ND.tobytes()
    assert (here.student is None) == (idea == "federated_distillation")


@every_idea
def test_an_idea_that_is_stopped_and_resumed_ends_with_the_same_bytes(idea: str, tmp_path: Path) -> None:
    """The state of every part is in the snapshot."""
    base = {"rounds": 4, "baselines": False, "output": str(tmp_path)}
    whole = Path(fedkd.run(config_of(idea, run=base | {"name": "whole"})).run_dir)
    with pytest.raises(KeyboardInterrupt):
        fedkd.run(config_of(idea, run=base | {"name": "stopped"}), StopAfter(3))
    stopped = tmp_path / "stopped"
    resume(stopped)
    assert without_seconds(RunStore.open(stopped).read_rounds()) == without_seconds(RunStore.open(whole).read_rounds())
    if (whole / "student.safetensors").exists():
        assert (stopped / "student.safetensors").read_bytes() == (whole / "student.safetensors").read_bytes()


@pytest.mark.parametrize("idea", SUMS)
def test_an_idea_that_needs_only_sums_says_the_same_under_masks(idea: str) -> None:
    """The first round's teachers, before models that learnt from roundings drift apart; each key that is there is there
    in both.
    """
    (_, clear), (masked, sums) = run(config_of(idea)), run(config_of(idea, secure_aggregation={"enabled": True}))
    plain, summed = clear[0].teacher, sums[0].teacher
    assert plain is not None
    assert summed is not None
    assert not sums[0].client_rows
    assert np.array_equal(plain.keys_N, summed.keys_N)
    record = masked.history[0].secure_sum
    assert record is not None
    np.testing.assert_allclose(summed.values_ND, plain.values_ND, rtol=0, atol=1.01 * record.resolution + 1e-5)


@pytest.mark.parametrize("idea", [idea for idea in IDEAS if idea not in SUMS])
def test_an_idea_that_needs_more_than_sums_is_refused_under_masks(idea: str) -> None:
    """Before anything runs, and with the reason."""
    with pytest.raises(ConfigError, match=r"weights travel|looks at each client|payload\.encoding"):
        config_of(idea, secure_aggregation={"enabled": True, "value_bits": 20, "ring_bits": 64, "weight_bits": 16})


def test_a_cache_asks_for_less_once_it_is_filled() -> None:
    """With all labels cached for two rounds: all samples in round 1, one in rounds 2 and 3, and then what has become
    old.
    """
    config = config_of("soft_label_cache", method=IDEAS["soft_label_cache"]["method"] | {"public_per_round": 0})
    up = [record.bytes.up for record in run(config)[0].history]
    assert up[0] == 4 * (40 * 10 * 4 + 128)
    assert up[3] == 4 * (39 * 10 * 4 + 128)
    assert up[1] == up[2] == 4 * (1 * 10 * 4 + 128)


def test_delta_coding_sends_less_from_the_second_round_on_and_says_the_same() -> None:
    """In round 1 every vote travels; afterwards a bit for each sample, and the votes that have changed."""
    result, rounds = run(config_of("one_bit_delta"))
    up = [record.bytes.up for record in result.history]
    assert up[0] == 4 * (40 + 40 // 8 + 2 * 128)
    assert up[0] > up[1] > 4 * (40 // 8 + 2 * 128)
    rows = rounds[-1].client_rows[0].values_ND
    np.testing.assert_allclose(np.exp(rows).max(axis=1), 1 - 1e-3 + 1e-4, rtol=1e-6)


def test_trust_leaves_a_client_that_lies() -> None:
    """With trust the teacher is better than the plain mean of the same clients."""
    with_trust = run(config_of("trust_over_rounds"))[0].history[-1].ensemble_teacher.accuracy
    plain = run(config_of("trust_over_rounds", method={"aggregator": "mean_probabilities"}))[0]
    assert with_trust is not None
    assert with_trust > (plain.history[-1].ensemble_teacher.accuracy or 0.0)


class StopAfter(RunObserver):
    """Stops the run as soon as a round is recorded, before its snapshot is written."""

    def __init__(self, server_round: int) -> None:
        self._round = server_round

    def on_round(self, record: RoundRecord) -> None:
        if record.server_round == self._round:
            raise KeyboardInterrupt


def without_seconds(history: Any) -> list[dict[str, Any]]:
    return [record.model_dump(exclude={"seconds"}) for record in history]
