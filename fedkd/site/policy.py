"""What a client checks before it trains or answers: the bundle, the experiment, and the request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from flwr.app import Message

from fedkd.config.experiment import ExperimentConfig
from fedkd.data.config import SITES
from fedkd.errors import PolicyError
from fedkd.federation.messages import TRAIN, instruction_from_records
from fedkd.federation.secure.messages import has_request, request_from_records
from fedkd.flower.app_bundle import bundle_hash
from fedkd.methods import Method
from fedkd.payload.rows import CLASS_STATISTICS, PUBLIC_ANSWERS
from fedkd.site.settings import PolicyConfig, SiteConfig
from fedkd.site.state import Usage

FREE_TEXTS = frozenset(
    {
        "run.output",
        "run.name",
        "run.device",
        "ray.address",
        "data.root",
        "data.classes",
        "data.public.root",
        "secure_aggregation.identities",
    }
)
"""Keys whose text may hold a colon and names no code. Of every other key a site takes a colon for an import path."""


def check_bundle(policy: PolicyConfig, content: bytes) -> None:
    """Refuse every bundle except the one of this installation and those that the policy allows.

    Raises:
        PolicyError: it is another bundle.
    """
    given = bundle_hash(content)
    if given not in {bundle_hash(), *policy.allowed_bundles}:
        raise PolicyError(
            "allowed_bundles",
            f"the app's bundle has SHA-256 {given[:16]}…; this installation's is {bundle_hash()[:16]}…; "
            "is another version of fedkd at the server, or was the bundle changed?",
        )


def check_own_code(experiment: object) -> None:
    """Refuse an experiment that names code by an import path, before anything is imported.

    Args:
        experiment: the JSON of the run config.

    Raises:
        PolicyError: it names code.
    """
    try:
        values = json.loads(experiment) if isinstance(experiment, str) else None
    except ValueError:
        values = None
    for key, text in _texts(values):
        if ":" in text and key not in FREE_TEXTS:
            raise PolicyError("own_code", f"{key} = {text!r} is an import path; a site runs what fedkd brings")


def _texts(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a nested configuration, with its dotted path; texts of a list have that of the list."""
    if isinstance(value, str):
        yield key, value
    for name, inner in value.items() if isinstance(value, Mapping) else ():
        yield from _texts(inner, f"{key}.{name}".strip("."))
    for inner in value if isinstance(value, list) else ():
        yield from _texts(inner, key)


def check_experiment(site: SiteConfig, config: ExperimentConfig, method: Method) -> None:
    """Refuse an experiment that the policy does not allow, or that belongs to another federation.

    Raises:
        PolicyError: it is refused; the message names the key.
    """
    policy, secure = site.policy, config.secure_aggregation
    if config.data.source != SITES:
        raise PolicyError("data.source", f"{config.data.source!r}; at a site it is {SITES!r}")
    if config.clients.number != site.num_clients:
        raise PolicyError("num_clients", f"clients.number is {config.clients.number}; here it is {site.num_clients}")
    if method.sends_model and not policy.allow_weights:
        raise PolicyError(
            "allow_weights", f"{method.name} sends the weights of the model; this site does not allow that"
        )
    revealed = reveals(config, method)
    allowed = {PUBLIC_ANSWERS, *((CLASS_STATISTICS,) if policy.allow_class_statistics else ())}
    if revealed and revealed not in allowed:
        raise PolicyError(
            "allow_class_statistics", f"the rows of {method.name} reveal {revealed}; this site allows {sorted(allowed)}"
        )
    if (policy.require_secure_aggregation or policy.minimum_cohort) and not secure.enabled:
        rule = "require_secure_aggregation" if policy.require_secure_aggregation else "minimum_cohort"
        raise PolicyError(rule, "the server would see each client's answer; secure_aggregation.enabled must be true")
    if secure.enabled and secure.trust == "active" and site.identity is None:
        raise PolicyError("identity", "secure_aggregation.trust is 'active'; this site has no identity to sign with")
    if secure.enabled and policy.trust == "active" and secure.trust != "active":
        raise PolicyError("trust", f"secure_aggregation.trust is {secure.trust!r}; 'active'")
    if secure.minimum_cohort < policy.minimum_cohort:
        asked = f"secure_aggregation.minimum_cohort is {secure.minimum_cohort}"
        raise PolicyError("minimum_cohort", f"{asked}; at least {policy.minimum_cohort}")


def reveals(config: ExperimentConfig, method: Method) -> str:
    """What a client's rows say of its private data; nothing where it sends none."""
    upload = method.rows_upload
    return "" if upload is None else upload.spec(2, config.payload.bound).reveals


def what_is_asked(message: Message) -> tuple[int | None, int]:
    """Return the round of a message, if it has one, and the number of public samples that it asks for.

    Raises:
        PayloadError: the message cannot be read.
        PolicyError: it asks for answers on a test split, and no site has one.
    """
    if message.metadata.message_type != TRAIN:
        secure = has_request(message.content)
        return (request_from_records(message.content).server_round if secure else None), 0
    instruction = instruction_from_records(message.content)
    if instruction.evaluate:
        raise PolicyError("evaluate", "answers on a test split; a site has none")
    return instruction.server_round, len(instruction.asked_N)


def check_usage(policy: PolicyConfig, usage: Usage) -> None:
    """Refuse a request that exceeds the limits of the policy.

    Raises:
        PolicyError: there are too many rounds, or too many public samples in a round.
    """
    if policy.maximum_rounds and usage.rounds > policy.maximum_rounds:
        raise PolicyError("maximum_rounds", f"this is round {usage.rounds} here; at most {policy.maximum_rounds}")
    most = policy.maximum_queries_per_round
    if most and usage.queries > most:
        raise PolicyError("maximum_queries_per_round", f"{usage.queries} public samples in a round; at most {most}")
