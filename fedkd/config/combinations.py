"""What cannot be combined: keys of an experiment that are allowed each by itself, and not together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedkd.aggregation import Aggregator, MeanAggregator, MeanLogits
from fedkd.config.errors import blaming_builder
from fedkd.data.config import SITES
from fedkd.data.sources import TEXT_SOURCES
from fedkd.distillation.objective import (
    ObjectiveConfig,
    check_hard_loss,
    check_relations,
    check_soft_loss,
    check_temperature,
)
from fedkd.errors import ConfigError
from fedkd.methods import REFERENCES, Method, build_method
from fedkd.methods.base import LOOKS_AT_EACH
from fedkd.methods.checks import check_batch_norm_alignment, check_temperature_selection, distribution_of
from fedkd.payload.rows import RowsSpec
from fedkd.secure_aggregation import smallest_ring_bits
from fedkd.training.augmentation import AUGMENTATIONS
from fedkd.training.local_terms import build_term

if TYPE_CHECKING:
    from fedkd.config.experiment import ExperimentConfig

LOCAL = "method.local_distillation"
FEWEST_GROUPS = 3
"""Of which a robust rule can tell one that lies from the others."""


def check_combinations(config: ExperimentConfig) -> None:
    """Refuse what no run could be made of.

    Raises:
        ConfigError: names the key to change, its value and what is allowed beside the others.
    """
    method, student = config.method, config.student
    built: Method | None = None
    if method.name not in REFERENCES:
        with blaming_builder(method.name):
            built = build_method(method)
    _check_objectives(config, built)
    check_batch_norm_alignment(method, built, student.model, config.clients.models)
    check_temperature_selection(
        student,
        distils=built is not None and built.distils != "nothing",
        labelled=config.data.public.labelled,
        num_public=method.public_per_round or config.data.public.size,
    )
    _check_clients(config)
    _check_augmentation(config)
    _check_local_terms(config)
    if built is None and student.model not in config.clients.models:
        raise ConfigError(
            "student.model",
            student.model,
            f"with {method.name} the student is an average of clients: one of clients.models, "
            f"{list(config.clients.models)}",
        )
    if method.public_per_round > config.data.public.size:
        raise ConfigError(
            "method.public_per_round",
            method.public_per_round,
            f"at most data.public.size, which is {config.data.public.size}",
        )
    if student.shards > max(1, student.batch_size // 2):
        raise ConfigError(
            "student.shards", student.shards, f"at most half of student.batch_size, which is {student.batch_size}"
        )
    if student.shards > 1 and student.objective.terms:
        allowed = "1 with student.objective.terms: a part of a batch has not the batch's relations"
        raise ConfigError("student.shards", student.shards, allowed)
    if config.data.source == SITES:
        _check_sites(config)
    sent = _spec_of_what_is_sent(config, built)
    _check_saved(config, built)
    _check_attack(config)
    if config.secure_aggregation.enabled:
        _check_secure_aggregation(config, built, sent)
    for key, section in (("student", student), (LOCAL, method.local_distillation)):
        if section.patience and not section.holdout_fraction:
            allowed = f"0, or a {key}.holdout_fraction above 0 to watch"
            raise ConfigError(f"{key}.patience", section.patience, allowed)


def _spec_of_what_is_sent(config: ExperimentConfig, built: Method | None) -> RowsSpec | None:
    """The spec of rows behind the steps, of as many classes as any data have at least; `None` where none are sent.

    Raises:
        ConfigError: a codec or step that cannot be made, or that does not fit the rows.
    """
    seam = config.payload.seam()
    if built is None or built.rows_upload is None:
        return None
    return seam.spec_after(built.rows_upload.spec(2, config.payload.bound))


def _check_objectives(config: ExperimentConfig, built: Method | None) -> None:
    """Refuse what the student or a client cannot learn by, and further losses that nobody learns by."""
    method, student, local = config.method, config.student.objective, config.method.local_distillation.objective
    distils = built is not None and built.distils != "nothing"
    if student.terms and not distils:
        raise ConfigError(
            "student.objective.terms", _names(student), f"none with {method.name}, which distils no student"
        )
    if local.terms and not (built is not None and _clients_learn(config, built)):
        allowed = (
            f"none with {method.name} and clients.models = {list(config.clients.models)}: no client distils locally"
        )
        raise ConfigError(f"{LOCAL}.objective.terms", _names(local), allowed)
    distribution = distribution_of(method)
    if distils:
        check_soft_loss("student.objective", student, distribution)
    check_soft_loss(f"{LOCAL}.objective", local, distribution)
    for key, objective in (("student.objective", student), (f"{LOCAL}.objective", local)):
        check_hard_loss(key, objective, labelled=config.data.public.labelled)
        check_temperature(key, objective)
        check_relations(key, objective, distribution)


def _clients_learn(config: ExperimentConfig, built: Method) -> bool:
    """Whether some client learns from soft labels, because it adopts no weights."""
    adopted = built.server_models(config.student.model, config.clients.models) if built.adopts == "model" else []
    learns = built.aggregate is not None and built.adopts != "nothing"
    return learns and not set(config.clients.models) <= set(adopted)


def _names(objective: ObjectiveConfig) -> list[str]:
    return [term.loss for term in objective.terms]


def _check_augmentation(config: ExperimentConfig) -> None:
    """Refuse the registered augmentations, which are for images, with a source of texts."""
    images = [part.name for part in config.training.augmentation if part.name in AUGMENTATIONS]
    if images and config.data.source in TEXT_SOURCES:
        allowed = f"none of {', '.join(AUGMENTATIONS)} with data.source = {config.data.source!r}, which holds texts"
        raise ConfigError("training.augmentation", images, allowed)


def _check_local_terms(config: ExperimentConfig) -> None:
    """Refuse terms that need rows of the server: what goes down is a method's decision."""
    needing = [part.name for part in config.training.terms if build_term(part, "training.terms").needs_rows]
    if needing:
        allowed = "terms that need no rows of the server: those that do are parts of a method, its local_terms"
        raise ConfigError("training.terms", needing, allowed)


def _check_clients(config: ExperimentConfig) -> None:
    clients = config.clients
    for key in ("min_train_nodes", "min_available_nodes", "min_replies"):
        if getattr(clients, key) > clients.number:
            raise ConfigError(
                f"clients.{key}", getattr(clients, key), f"at most clients.number, which is {clients.number}"
            )
    if clients.min_replies > config.num_drawn:
        raise ConfigError(
            "clients.min_replies", clients.min_replies, f"at most the {config.num_drawn} clients drawn for a round"
        )
    if clients.dropout_rate + clients.straggler_rate > 1:
        raise ConfigError(
            "clients.straggler_rate", clients.straggler_rate, "at most 1 together with clients.dropout_rate"
        )


def _check_attack(config: ExperimentConfig) -> None:
    attack, number = config.attack, config.clients.number
    for client in attack.clients:
        attack.steps(client)
        if client >= number:
            raise ConfigError("attack.clients", list(attack.clients), f"below clients.number, which is {number}")
    if attack.clients and config.data.source == SITES:
        raise ConfigError(
            "attack.clients", list(attack.clients), f"none with data.source = {SITES!r}: lies are simulated"
        )


def _check_saved(config: ExperimentConfig, built: Method | None) -> None:
    """Refuse to keep arrays that no round would have."""
    saved, name = set(config.run.save), config.method.name
    if config.secure_aggregation.enabled and saved & {"rows", "clients"}:
        allowed = "teacher alone with secure_aggregation.enabled: the server sees a sum, and nothing of one client"
        raise ConfigError("run.save", list(config.run.save), allowed)
    absent: dict[str, str] = {}
    if built is None or built.rows_upload is None:
        absent["rows"] = "whose clients send no rows"
    if built is None or built.aggregate is None:
        absent["teacher"] = "which has no teacher"
    if built is not None and not built.sends_model:
        absent["clients"] = "whose clients send no weights"
    for each in config.run.save:
        if each in absent:
            raise ConfigError("run.save", list(config.run.save), f"without {each!r} with {name}, {absent[each]}")


def _check_sites(config: ExperimentConfig) -> None:
    for key, value in (("baselines", False), ("evaluate_clients_every", 0)):
        given = getattr(config.run, key)
        if given != value:
            raise ConfigError(f"run.{key}", given, f"{value} with data.source = {SITES!r}: sites share no test split")
    if config.run.observers:
        names = [observer.name for observer in config.run.observers]
        allowed = f"none with data.source = {SITES!r}: a site refuses an experiment that names code of your own"
        raise ConfigError("run.observers", names, allowed)
    for key in ("dropout_rate", "straggler_rate"):
        if (given := getattr(config.clients, key)) > 0:
            raise ConfigError(
                f"clients.{key}", given, f"0 with data.source = {SITES!r}: absence is simulated elsewhere"
            )


def _check_secure_aggregation(config: ExperimentConfig, built: Method | None, sent: RowsSpec | None) -> None:
    secure, payload, method = config.secure_aggregation, config.payload, config.method
    key = "secure_aggregation.enabled"
    if built is None or built.aggregate is None:
        raise ConfigError(key, True, f"false with {method.name}, which has no teacher: its weights travel")
    in_groups = bool(secure.group_size) and not isinstance(built.aggregate, MeanAggregator)
    refused = (replace(built, aggregate=MeanLogits()) if in_groups else built).refused_under_masks(payload.bound)
    if refused is not None:
        hint = "; or set secure_aggregation.group_size, and it looks at the means of groups"
        raise ConfigError(key, True, f"false with {method.name}: {refused}{hint * (refused == LOOKS_AT_EACH)}")
    if sent is not None and sent.bound == float("inf"):
        raise ConfigError(key, True, f"false with {method.name}: payload.steps leave rows without a bound")
    if payload.encoding.name != "float32":
        raise ConfigError(key, True, 'false, or payload.encoding = "float32": sums are integers')
    if secure.minimum_cohort > config.clients.number:
        raise ConfigError(
            "secure_aggregation.minimum_cohort",
            secure.minimum_cohort,
            f"at most clients.number, which is {config.clients.number}",
        )
    if secure.trust == "active" and not secure.identities:
        raise ConfigError("secure_aggregation.identities", "", "a folder where trust is active: clients sign")
    if secure.dropout_stage == "confirm" and secure.trust != "active":
        raise ConfigError("secure_aggregation.dropout_stage", "confirm", "another stage where trust is not active")
    if secure.group_size:
        _check_groups(config, built.aggregate)
    weighted = isinstance(built.aggregate, MeanAggregator) and built.aggregate.weighted
    weighted = weighted or (sent is not None and sent.weighted)
    needed = smallest_ring_bits(config.clients.number, secure.value_bits, secure.weight_bits if weighted else 1)
    if needed > secure.ring_bits:
        raise ConfigError(
            "secure_aggregation.ring_bits", secure.ring_bits, f"at least {needed} for so many clients and bits"
        )


def _check_groups(config: ExperimentConfig, aggregator: Aggregator) -> None:
    key, size = "secure_aggregation.group_size", config.secure_aggregation.group_size
    if isinstance(aggregator, MeanAggregator):
        raise ConfigError(key, size, f"0 with {type(aggregator).__name__}, which needs one sum over all")
    if aggregator.initial(range(FEWEST_GROUPS)):
        raise ConfigError(
            key, size, f"0 with {type(aggregator).__name__}, which remembers clients: groups are dealt anew"
        )
    least, most = config.secure_aggregation.minimum_cohort, config.num_drawn // FEWEST_GROUPS
    if not least <= size <= most:
        raise ConfigError(
            key,
            size,
            f"from secure_aggregation.minimum_cohort, which is {least}, to {most}: of the {config.num_drawn} clients "
            f"of a round at least {FEWEST_GROUPS} groups are made, as a comparison of fewer excludes nobody",
        )
