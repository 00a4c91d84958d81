"""Texts in a federation: every method, engine and command, on mails made here, and on real ones where they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fedkd
from fedkd.cli.main import app
from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.data.jsonl_source import load_jsonl
from fedkd.data.texts import LabelledTexts
from fedkd.engines.simulation import simulate
from fedkd.federation.observers import Observer
from fedkd.federation.workspace import open_workspace
from fedkd.offline import load_offline_config, open_offline
from fedkd.seeding import numpy_rng
from fedkd.training.evaluation import balanced_accuracy, predict_logits

WORDS = ("agenda meeting minutes paper deadline office", "winner prize click cash offer free")
FILLERS = "the a of to and it we you is on for with"

MakeConfig = Callable[..., ExperimentConfig]


@pytest.fixture(scope="module")
def mails(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 texts, three in four of the first class, each of many fillers and three words of its class."""
    path, rng = tmp_path_factory.mktemp("mails") / "mails.jsonl", numpy_rng(0, "mails")
    lines = []
    for number in range(400):
        label = int(number % 4 == 0)
        own, filler = (rng.choice(words.split(), size) for words, size in ((WORDS[label], 3), (FILLERS, 7)))
        text = " ".join([f"n{number}", *rng.permutation([*own, *filler])])
        lines.append(json.dumps({"text": text, "label": label, "origin": "here"}))
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def make_config(mails: Path, tmp_path: Path) -> MakeConfig:
    def make(**sections: Any) -> ExperimentConfig:
        values: dict[str, Any] = {
            "run": {"rounds": 1, "baselines": False, "output": str(tmp_path)},
            "data": {
                "source": "jsonl",
                "root": str(mails),
                "public": {"size": 80},
                "text": {"length": 16, "vocabulary": 320},
                "partition": {"min_size": 5, "dirichlet_alpha": 1.0},
            },
            "clients": {"number": 3, "models": ["transformer_small"]},
            "training": {"epochs": 2, "optimizer": "adam", "learning_rate": 0.005},
            "student": {"model": "transformer_small", "epochs": 3, "learning_rate": 0.005},
        }
        for name, section in sections.items():
            values[name] = values.get(name, {}) | section
        return parse_config(values)

    return make


@pytest.mark.parametrize("method", ["fkd", "fedmd", "feddf", "fedavg"])
def test_every_method_runs_on_texts(method: str, make_config: MakeConfig) -> None:
    result = simulate(make_config(method={"name": method}), Observer())
    (record,) = result.history
    assert record.completed
    assert (record.student.balanced_accuracy is None) == (method == "fedmd")


def test_a_run_learns_and_records_balanced_accuracies(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(
        run={"rounds": 2, "baselines": True, "output": str(tmp_path), "name": "run"},
        training={"epochs": 6, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.005},
        student={"model": "transformer_small", "epochs": 15, "batch_size": 16, "learning_rate": 0.005},
    )
    record = fedkd.run(config)
    student = record.student.balanced_accuracy
    assert student is not None
    assert student > 0.8, "words tell the classes apart"
    confusion = record.history[-1].confusion
    assert confusion is not None
    assert confusion.student is not None
    recalls = [row[label] / sum(row) for label, row in enumerate(confusion.student)]
    assert student == pytest.approx(np.mean(recalls), rel=1e-12)
    for value in (record.baselines.local_only_balanced, record.baselines.centralised_balanced):
        assert value is not None
        assert 0.4 <= value <= 1
    for value in (record.ensemble_teacher.balanced_accuracy, record.clients.mean_balanced_accuracy):
        assert value is not None
    assert "student, balanced" in (tmp_path / "run" / "report.html").read_text()
    _check_prediction(tmp_path / "run", config, tmp_path, student)


def _check_prediction(run: Path, config: ExperimentConfig, folder: Path, expected: float) -> None:
    """The student, read back, has the recorded score on the texts of the test split."""
    data = open_workspace(config).data
    assert data.vocabulary is not None
    everything = load_jsonl(Path(config.data.root)).train
    assert isinstance(everything, LabelledTexts)
    test_rows = {tuple(row) for row in data.test.inputs.tolist()}
    tokens_NL = data.vocabulary.encode(everything.texts, 16)
    held_out = [
        (text, label)
        for text, label, row in zip(everything.texts, everything.labels_N, tokens_NL.tolist(), strict=True)
        if tuple(row) in test_rows
    ]
    (folder / "new.jsonl").write_text("\n".join(json.dumps({"text": text}) for text, _ in held_out))
    shown = CliRunner().invoke(app, ["predict", str(run), str(folder / "new.jsonl"), "--json"])
    choices = [int(entry["class_name"]) for entry in json.loads(shown.stdout)]
    labels_N = np.array([label for _, label in held_out])
    assert len(labels_N) == len(data.test)
    assert balanced_accuracy(np.eye(2, dtype=np.float32)[choices], labels_N) == pytest.approx(expected)
    refused = CliRunner().invoke(app, ["predict", str(run), str(folder / "photo.png")])
    assert refused.exit_code == 2
    assert "allowed: a .txt file" in refused.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("ray_on_this_machine")
def test_engines_agree_on_texts(make_config: MakeConfig) -> None:
    local, parallel = (
        simulate(make_config(run={"rounds": 2, "baselines": False, "engine": engine}, ray={"workers": 2}), Observer())
        for engine in ("local", "ray")
    )
    assert local.student is not None
    assert parallel.student is not None
    for key, weights in local.student.items():
        np.testing.assert_array_equal(weights, parallel.student[key], strict=True)


def test_sums_of_masked_answers_teach_as_well(make_config: MakeConfig) -> None:
    secure = {"enabled": True, "minimum_cohort": 2}
    plain, masked = (
        simulate(make_config(**sections), Observer()).history[0] for sections in ({}, {"secure_aggregation": secure})
    )
    assert masked.secure_sum is not None
    assert masked.secure_sum.survivors == (0, 1, 2)
    assert plain.ensemble_teacher.balanced_accuracy is not None
    assert masked.ensemble_teacher.balanced_accuracy == pytest.approx(
        plain.ensemble_teacher.balanced_accuracy, abs=0.05
    )


OFFLINE = """
[run]
name = "taught"
output = "{output}"
[data]
source = "jsonl"
root = "{root}"
[data.text]
length = 16
vocabulary = 320
[data.public]
size = 100
[teacher]
model = "transformer"
epochs = 4
batch_size = 16
optimizer = "adam"
learning_rate = 0.003
[student]
model = "transformer_small"
epochs = {epochs}
learning_rate = 0.005
[[terms]]
loss = "hidden_states"
student = ["layers.1"]
teacher = ["layers.3"]
[[terms]]
loss = "attention_matrices"
student = ["layers.1.attention.scores"]
teacher = ["layers.3.attention.scores"]
"""


def _offline(tmp_path: Path, mails: Path, epochs: int) -> Path:
    path = tmp_path / "distill.toml"
    path.write_text(OFFLINE.format(output=tmp_path, root=mails, epochs=epochs))
    return path


def test_distill_takes_hidden_states_and_attention(tmp_path: Path, mails: Path) -> None:
    path = _offline(tmp_path, mails, 2)
    done = CliRunner().invoke(app, ["distill", str(path), "--json"])
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["student"]["balanced_accuracy"] is not None
    one_line = "\n".join([OFFLINE.split("[[terms]]")[0], '[[terms]]\nloss = "hidden_states"'])
    path.write_text(
        (one_line + '\nstudent = ["classifier"]\nteacher = ["classifier"]\n').format(
            output=tmp_path, root=mails, epochs=1
        )
    )
    refused = CliRunner().invoke(app, ["distill", str(path), "--set", "run.name=other"])
    assert refused.exit_code == 2
    assert "are no hidden states" in refused.stderr


def test_terms_draw_the_student_to_the_teachers_hidden_states_and_attention(tmp_path: Path, mails: Path) -> None:
    config = load_offline_config(_offline(tmp_path, mails, 8))
    with_terms, without = open_offline(config), open_offline(config.model_copy(update={"terms": ()}))
    with_terms.train_teacher()
    without.teacher.load_state_dict(with_terms.teacher.state_dict())
    public = with_terms.answers()
    distances = []
    for distillation in (with_terms, without):
        distillation.distil(public)
        attention = _tapped(distillation.student, public.images_NCHW, "layers.1.attention.scores")
        wanted = public.teacher_features["layers.3.attention.scores"]
        distances.append(float((attention - wanted).square().mean()))
    assert distances[0] < 0.7 * distances[1]


def _tapped(model: Any, inputs: Any, name: str) -> Any:
    from fedkd.distillation import answered_by

    return answered_by(model, inputs, taps=[name]).teacher_features[name]


def test_commands_say_what_texts_are_and_what_they_cannot_be(tmp_path: Path, mails: Path) -> None:
    path = tmp_path / "spam.toml"
    path.write_text(f'[data]\nsource = "jsonl"\nroot = "{mails}"\n[data.public]\nsize = 80\n[clients]\nnumber = 3\n')

    def invoke(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments[:1], str(path), *arguments[1:]])

    assert "texts of 128 tokens out of" in invoke("data").stdout
    for arguments, match in [
        (("data", "--export", str(tmp_path / "trial")), "it holds texts, sites hold images"),
        (("data", "--set", "data.image_size=8"), "data.image_size = 8 is not allowed"),
        (("data", "--set", "data.heterogeneity.feature_shift=noise"), "data.heterogeneity.feature_shift = 'noise'"),
        (("data", "--set", "data.root=absent.jsonl"), "'absent.jsonl' does not exist"),
        (("simulate",), "model 'cnn' takes images, and these are texts"),
    ]:
        refused = invoke(*arguments)
        assert refused.exit_code == 2, refused.stdout
        assert match in refused.stderr.replace("\n", " ")


def test_real_mails_are_read(data_root: Path) -> None:
    if not (data_root / "spam.jsonl.gz").is_file():
        pytest.skip(f"no spam.jsonl.gz at {data_root}")
    source = load_jsonl(data_root / "spam.jsonl.gz")
    assert (len(source.train), source.class_names) == (5564, ("0", "1"))
    assert source.train.labels_N.sum() == 1492


def test_a_student_answers_alike_in_another_batch(make_config: MakeConfig) -> None:
    workspace = open_workspace(make_config())
    model = workspace.build_model("transformer_small", seed=0)
    whole, parts = (predict_logits(model, workspace.public_inputs, size) for size in (512, 7))
    np.testing.assert_allclose(whole, parts, rtol=1e-4, atol=1e-5)
