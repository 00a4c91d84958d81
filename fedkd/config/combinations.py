"""What cannot be combined: keys of an experiment that are allowed each by itself, and not together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedkd.aggregation import Aggregator, MeanAggregator
from fedkd.config.errors import blaming_builder
from fedkd.data.config import SITES
from fedkd.data.sources import TEXT_SOURCES
from fedkd.distillation import RelationConfig
from fedkd.errors import ConfigError
from fedkd.methods import REFERENCES, Method, build_method
from fedkd.methods.objective import (
    check_batch_norm_alignment,
    check_hard_loss,
    check_relations,
    check_soft_loss,
    check_temperature,
    check_temperature_selection,
)
from fedkd.secure_aggregation import smallest_ring_bits
from fedkd.training.augmentation import AUGMENTATIONS

if TYPE_CHECKING:
    from fedkd.config.experiment import ExperimentConfig

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
    weights_travel = built is None or built.sends == "weights"
    _check_terms(config, built)
    check_hard_loss(method.alpha, method.label_smoothing, labelled=config.data.public.labelled)
    if built is not None:
        check_soft_loss("method.digestion.loss", method.digestion.loss, method)
        check_temperature(_losses_in_use(config, built), method.temperature)
    if built is not None and built.distils:
        check_soft_loss("student.loss", student.loss, method)
    check_batch_norm_alignment(method, built, student.model, config.clients.models)
    check_temperature_selection(
        student,
        distils=built is not None and built.distils,
        labelled=config.data.public.labelled,
        num_public=method.public_per_round or config.data.public.size,
    )
    _check_clients(config)
    _check_augmentation(config)
    if weights_travel and student.model not in config.clients.models:
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
    if student.shards > 1 and student.terms:
        raise ConfigError(
            "student.shards", student.shards, "1 with student.terms: a part of a batch has not the batch's relations"
        )
    if config.data.source == SITES:
        _check_sites(config)
    if config.secure_aggregation.enabled:
        _check_secure_aggregation(config, built)
    if student.patience and not student.holdout_fraction:
        raise ConfigError("student.patience", student.patience, "0, or a student.holdout_fraction above 0 to watch")


def _losses_in_use(config: ExperimentConfig, built: Method) -> dict[str, str]:
    """The soft losses that someone learns by."""
    student, digestion = config.student, config.method.digestion
    losses: dict[str, str] = {"student.loss": student.loss} if built.distils else {}
    adopt_weights = built.server_models(student.model, config.clients.models) if built.adopts == "model" else []
    if built.aggregate is not None and not set(config.clients.models) <= set(adopt_weights):
        losses["method.digestion.loss"] = digestion.loss
    return losses


def _check_terms(config: ExperimentConfig, built: Method | None) -> None:
    """Refuse further losses that nobody learns by, and those that need logits where there are probabilities."""
    method, student = config.method, config.student
    losses = {} if built is None else _losses_in_use(config, built)
    if student.terms and "student.loss" not in losses:
        raise ConfigError("student.terms", _names(student.terms), f"none with {method.name}, which distils no student")
    if method.digestion.terms and "method.digestion.loss" not in losses:
        raise ConfigError(
            "method.digestion.terms",
            _names(method.digestion.terms),
            f"none with {method.name} and clients.models = {list(config.clients.models)}: no client digests labels",
        )
    check_relations("student.terms", student.terms, method)
    check_relations("method.digestion.terms", method.digestion.terms, method)


def _names(terms: Sequence[RelationConfig]) -> list[str]:
    return [term.loss for term in terms]


def _check_augmentation(config: ExperimentConfig) -> None:
    """Refuse the registered augmentations, which are for images, with a source of texts."""
    images = [part.name for part in config.training.augmentation if part.name in AUGMENTATIONS]
    if images and config.data.source in TEXT_SOURCES:
        allowed = f"none of {', '.join(AUGMENTATIONS)} with data.source = {config.data.source!r}, which holds texts"
        raise ConfigError("training.augmentation", images, allowed)


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


def _check_sites(config: ExperimentConfig) -> None:
    for key, value in (("bounds", False), ("evaluate_clients_every", 0)):
        given = getattr(config.run, key)
        if given != value:
            raise ConfigError(f"run.{key}", given, f"{value} with data.source = {SITES!r}: sites share no test split")


def _check_secure_aggregation(config: ExperimentConfig, built: Method | None) -> None:
    secure, payload, method = config.secure_aggregation, config.payload, config.method
    key = "secure_aggregation.enabled"
    if built is None or built.sends == "weights":
        raise ConfigError(key, True, f"false with {method.name}, whose weights travel: only logits are masked")
    named = getattr(method, "aggregator", type(built.aggregate).__name__)
    if not isinstance(built.aggregate, MeanAggregator) and not secure.group_size:
        raise ConfigError(
            key,
            True,
            f"false with aggregator {named!r}, which looks at each client: a sum hides them; or set "
            "secure_aggregation.group_size, and it looks at the means of groups",
        )
    if not payload.clip or payload.encoding != "float32":
        raise ConfigError(
            key, True, 'false, or payload.clip = true and payload.encoding = "float32": sums are integers'
        )
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
        _check_groups(config, built.aggregate, named)
    weighted = isinstance(built.aggregate, MeanAggregator) and built.aggregate.weighted
    needed = smallest_ring_bits(config.clients.number, secure.value_bits, secure.weight_bits if weighted else 1)
    if needed > secure.ring_bits:
        raise ConfigError(
            "secure_aggregation.ring_bits", secure.ring_bits, f"at least {needed} for so many clients and bits"
        )


def _check_groups(config: ExperimentConfig, aggregator: Aggregator | None, named: str) -> None:
    key, size = "secure_aggregation.group_size", config.secure_aggregation.group_size
    if isinstance(aggregator, MeanAggregator):
        raise ConfigError(key, size, f"0 with aggregator {named!r}, which needs one sum over all")
    least, most = config.secure_aggregation.minimum_cohort, config.num_drawn // FEWEST_GROUPS
    if not least <= size <= most:
        raise ConfigError(
            key,
            size,
            f"from secure_aggregation.minimum_cohort, which is {least}, to {most}: of the {config.num_drawn} clients "
            f"of a round at least {FEWEST_GROUPS} groups are made, as a comparison of fewer excludes nobody",
        )
