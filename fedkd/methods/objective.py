"""Which losses, teachers and labels go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedkd.distillation import RelationConfig, StudentConfig
from fedkd.errors import ConfigError
from fedkd.losses.kd import DIVERGENCES
from fedkd.methods.base import Method, MethodConfig


def check_hard_loss(alpha: float, label_smoothing: float, *, labelled: bool) -> None:
    """Refuse a hard loss without labels, and smoothed labels without a hard loss.

    Raises:
        ConfigError: names the key under `[method]`.
    """
    if alpha < 1 and not labelled:
        raise ConfigError(
            "method.alpha",
            alpha,
            "must be 1 with an unlabelled public set (there is nothing for the hard loss); "
            "or set data.public.labelled = true",
        )
    if label_smoothing > 0 and alpha == 1:
        raise ConfigError("method.label_smoothing", label_smoothing, "0 with method.alpha = 1, which has no hard loss")


def check_soft_loss(key: str, loss: str, method: MethodConfig) -> None:
    """Refuse a distance of logits where the teacher is a distribution, whose logits are log-probabilities.

    Args:
        key: dotted path of the loss.
        loss: its name.
        method: says how the teacher is made, where it has such keys.

    Raises:
        ConfigError: names the loss, and the key that makes the teacher a distribution.
    """
    if loss not in DIVERGENCES:
        _check_logits(key, loss, f"one of {', '.join(DIVERGENCES)}", method)


def check_relations(key: str, terms: Sequence[RelationConfig], method: MethodConfig) -> None:
    """Refuse relations between the teacher's logits where the teacher is a distribution, as `check_soft_loss` does.

    Args:
        key: dotted path of the terms.
        terms: further losses.
        method: says how the teacher is made, where it has such keys.

    Raises:
        ConfigError: names the terms, and the key that makes the teacher a distribution.
    """
    if terms:
        _check_logits(key, [term.loss for term in terms], "none", method)


def _check_logits(key: str, given: object, allowed: str, method: MethodConfig) -> None:
    for maker, value in (("aggregator", "mean_probabilities"), ("refine", "entropy_reduction")):
        parts = getattr(method, maker, None) or ()
        if value in {part.name for part in (parts if isinstance(parts, tuple) else (parts,))}:
            raise ConfigError(key, given, f"{allowed} with method.{maker} = {value!r}, whose teacher is probabilities")


def check_temperature(losses: Mapping[str, str], temperature: float) -> None:
    """Refuse a temperature that no loss in use has.

    Args:
        losses: dotted path of each loss in use, and its name.
        temperature: T.

    Raises:
        ConfigError: names the temperature.
    """
    if temperature == 1 or not losses or any(loss in DIVERGENCES for loss in losses.values()):
        return
    said = " and ".join(f"{key} = {loss!r}" for key, loss in losses.items())
    raise ConfigError(
        "method.temperature",
        temperature,
        f"1 with {said}, which has no temperature; or one of {', '.join(DIVERGENCES)}",
    )


def check_batch_norm_alignment(
    method: MethodConfig, built: Method | None, student: str, clients: Sequence[str]
) -> None:
    """Refuse to align where no client adopts a student whose layers it could answer through.

    Args:
        method: the `[method]` section.
        built: what it composes; `None` for a reference.
        student: `student.model`.
        clients: `clients.models`.

    Raises:
        ConfigError: names the key.
    """
    if not method.batch_norm_alignment:
        return
    if built is None or built.sends_model:
        refused = f"false with {method.name}, where the weights of batch norm travel with all others"
    elif built.adopts != "model" or built.start is None:
        refused = f"false with {method.name}, whose clients adopt no student: there is nothing to align to"
    elif student not in clients:
        refused = f"false where no client has the architecture of student.model, which is {student!r}"
    else:
        return
    raise ConfigError("method.batch_norm_alignment", True, refused)


def check_temperature_selection(student: StudentConfig, *, distils: bool, labelled: bool, num_public: int) -> None:
    """Refuse a grid of temperatures where there is nothing to choose, or nothing to choose by.

    Args:
        student: the `[student]` section.
        distils: whether the method has a student that is distilled.
        labelled: whether the public labels are known.
        num_public: public samples of a round.

    Raises:
        ConfigError: names the key under `[student]`.
    """
    selection, section = student.temperature_selection, "student.temperature_selection"
    if not selection.grid:
        if selection.alphas:
            raise ConfigError(f"{section}.alphas", list(selection.alphas), f"none without a {section}.grid")
        return
    if not distils:
        raise ConfigError(f"{section}.grid", list(selection.grid), "empty with a method that distils no student")
    if student.loss not in DIVERGENCES:
        allowed = f"empty with student.loss = {student.loss!r}, which has no temperature"
        raise ConfigError(f"{section}.grid", list(selection.grid), allowed)
    if not labelled and any(alpha < 1 for alpha in selection.alphas):
        allowed = "1 with an unlabelled public set; or set data.public.labelled = true"
        raise ConfigError(f"{section}.alphas", list(selection.alphas), allowed)
    if not 0 < selection.num_held_out(num_public) < num_public:
        allowed = f"at least one of the {num_public} public samples of a round on either side"
        raise ConfigError(f"{section}.holdout_fraction", selection.holdout_fraction, allowed)
