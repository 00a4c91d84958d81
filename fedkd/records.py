"""What happened in a run, as plain values: one `RoundRecord` a round, one `RunRecord` a run. Imports no torch.

Accuracies are fractions of the global test split, in [0, 1]; balanced ones are the mean over classes of the fraction of
each that is right, so that a frequent class does not hide a rare one. `None` stands for what a method does not have
(FedMD has no student) or what nobody measured. Seconds of clients are summed over clients, seconds of the
server are wall time. Bytes count arrays and byte strings of the payloads, with the headers of the array format;
transport headers are left out.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator


class Record(BaseModel):
    """Base of all records: frozen, closed, and NaN never passes for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StudentScore(Record):
    """The global model on the test split."""

    accuracy: float | None = None
    balanced_accuracy: float | None = None
    loss: float | None = None


class TeacherScore(Record):
    """The aggregate of the clients' logits on the test split."""

    accuracy: float | None = None
    balanced_accuracy: float | None = None


class ClientScores(Record):
    """The clients' own models, after their local training, on the test split."""

    mean_accuracy: float | None = None
    worst_accuracy: float | None = None
    mean_balanced_accuracy: float | None = None


class Baselines(Record):
    """Reference runs on the same partition, models and total local epochs; the curves have one value a round."""

    local_only: float | None = None
    centralised: float | None = None
    local_only_balanced: float | None = None
    centralised_balanced: float | None = None
    local_only_history: tuple[float, ...] = ()
    centralised_history: tuple[float, ...] = ()


class Traffic(Record):
    """Payload bytes: `up` from clients to server, `down` from server to clients, and `evaluation`, which also go up but
    serve only the measurement.
    """

    up: int = 0
    down: int = 0
    evaluation: int = 0


class Seconds(Record):
    """Where the time went. `total` is wall time; `local_training`, `public_inference` and the clients' share of
    `evaluation` are summed over clients.
    """

    total: float = 0.0
    local_training: float = 0.0
    public_inference: float = 0.0
    aggregation: float = 0.0
    distillation: float = 0.0
    evaluation: float = 0.0


class Refusal(Record):
    """A reply that was not used: whose it was (`None` where it did not say), a one-word reason, and the detail."""

    client: int | None
    reason: str
    detail: str


class PrivacyEvent(Record):
    """What a client's step did for its privacy in one message: `count` uses of a mechanism, none of whose values is
    here.
    """

    mechanism: str
    noise_multiplier: float
    count: int


class Distillation(Record):
    """How one distillation went. `agreement` is the share of held-out or else all public samples of the round on
    which student and teacher choose the same class.
    """

    epochs: int
    first_loss: float
    last_loss: float
    agreement: float
    stopped_early: bool = False


Verdict = Literal["chosen", "as good", "too low", "too high", "worse"]


class TemperatureTrial(Record):
    """A student distilled at one temperature and alpha, measured on samples that no trial has learnt from.

    `agreement` is the share on which student and teacher choose the same class, `divergence` the mean of
    KL(teacher ‖ student) and `entropy` the student's mean entropy, both in nats and at T = 1 whatever the trial's T.
    What needs labels is `None` without them, and what is of the samples with a wrong teacher where there are none:
    `accuracy`, `loss` (mean cross-entropy in nats), the accuracies where the teacher is right and where it is wrong,
    and the agreement where it is wrong. Where the teacher is right, to agree is to be right.
    """

    temperature: float
    alpha: float
    agreement: float
    divergence: float
    entropy: float
    accuracy: float | None = None
    loss: float | None = None
    accuracy_teacher_right: float | None = None
    accuracy_teacher_wrong: float | None = None
    agreement_teacher_wrong: float | None = None
    verdict: Verdict
    evidence: str = ""


class TemperatureChoice(Record):
    """A temperature and alpha that a validation chose out of a grid, and why.

    `samples` were held out, of `classes` classes; `teacher_entropy` is in nats at T = 1; `teacher_accuracy` is `None`
    without labels. `notes` say what the trials show beyond the choice, and what they cannot show.
    """

    temperature: float
    alpha: float
    samples: int
    classes: int
    labelled: bool
    teacher_entropy: float
    teacher_accuracy: float | None = None
    trials: tuple[TemperatureTrial, ...]
    why: str
    notes: tuple[str, ...] = ()


Matrix = tuple[tuple[int, ...], ...]


class Confusion(Record):
    """Samples of the test split counted by two choices of a class; each matrix is [classes, classes].

    `student` and `ensemble_teacher` have the true class as row and the model's choice as column; `student_teacher` has
    the teacher's choice as row and the student's as column. `None` where a method has no such model.
    """

    student: Matrix | None = None
    ensemble_teacher: Matrix | None = None
    student_teacher: Matrix | None = None


class SecureSum(Record):
    """How a round's secure aggregation went.

    `dropped` names, by stage, clients that were missing there; `seconds`, `bytes_up` and `bytes_down` are by stage,
    too, seconds being wall time and bytes those of the protocol's messages and of the instruction. `resolution` is the
    distance of two levels: a mean of what was summed is known to within it. `adjacent_client` is the one client by
    which the survivors differ from the last sum's (the two sums together may reveal its logits). `groups` are the
    survivors of each sum where groups are summed apart. `failure` says why there is no sum.
    """

    survivors: tuple[int, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    dropped: dict[str, tuple[int, ...]] = {}
    liars: tuple[int, ...] = ()
    adjacent_client: int | None = None
    resolution: float
    seconds: dict[str, float] = {}
    bytes_up: dict[str, int] = {}
    bytes_down: dict[str, int] = {}
    failure: str = ""


class RoundRecord(Record):
    """One round. `completed` is false where too few usable replies came and the old student stayed.

    `train_loss` is the clients' mean loss in their last local epoch, `clipped_fraction` the share of their logits that
    the seam clipped; both are means over the clients whose replies were used. `agreement` is the share of the test
    split on which student and ensemble teacher choose the same class; `confusion` is recorded in the last round only,
    `temperature_choice` in the rounds in which there was one. `metrics` holds what `run.metrics` names, on the test
    split: `"student/<metric>"`, `"ensemble_teacher/<metric>"`. `privacy_events` are what the steps of the payload did
    to the rows of each client that took part.
    """

    server_round: int
    completed: bool
    selected: tuple[int, ...]
    replied: tuple[int, ...]
    dropped: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    refused: tuple[Refusal, ...] = ()
    student: StudentScore = StudentScore()
    ensemble_teacher: TeacherScore = TeacherScore()
    clients: ClientScores = ClientScores()
    distillation: Distillation | None = None
    temperature_choice: TemperatureChoice | None = None
    agreement: float | None = None
    confusion: Confusion | None = None
    metrics: dict[str, float] = {}
    train_loss: float | None = None
    clipped_fraction: float | None = None
    secure_sum: SecureSum | None = None
    privacy_events: tuple[PrivacyEvent, ...] = ()
    bytes: Traffic = Traffic()
    seconds: Seconds = Seconds()


class PartitionRecord(Record):
    """How the private samples lie over the clients.

    `counts` is [clients, classes]; `skew` maps the name of a measure to its value (documented where computed);
    `description` says in words how the partition was made.
    """

    class_names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    skew: dict[str, float]
    description: str


class RunRecord(Record):
    """One run: where it lies, what it reached, and every round on the way."""

    run_dir: str
    method: str
    seed: int
    rounds: int
    student: StudentScore
    ensemble_teacher: TeacherScore
    clients: ClientScores
    baselines: Baselines
    bytes: Traffic
    seconds: Seconds
    history: tuple[RoundRecord, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_this_version(cls, values: Any) -> Any:
        if isinstance(values, dict) and "bounds" in values:
            raise ValueError("'bounds' are called 'baselines' now; the run was made by an earlier fedkd: run it again")
        return values
