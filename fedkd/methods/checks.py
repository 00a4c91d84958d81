"""What of a method does not go with the student, the clients or the public set."""

from __future__ import annotations

from collections.abc import Sequence

from fedkd.distillation import StudentConfig
from fedkd.errors import ConfigError
from fedkd.methods.base import Method, MethodConfig


def distribution_of(method: MethodConfig) -> str:
    """What makes the teacher a distribution, as `key = value`; empty where it is logits."""
    for maker, value in (("aggregator", "mean_probabilities"), ("refine", "entropy_reduction")):
        parts = getattr(method, maker, ())
        names = {getattr(part, "name", part) for part in (parts if isinstance(parts, tuple) else (parts,))}
        if value in names:
            return f"method.{maker} = {value!r}"
    return ""


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
    if not student.objective.has_temperature:
        allowed = f"empty with student.objective.loss = {student.objective.loss!r}, which has no temperature"
        raise ConfigError(f"{section}.grid", list(selection.grid), allowed)
    if not labelled and any(alpha < 1 for alpha in selection.alphas):
        allowed = "1 with an unlabelled public set; or set data.public.labelled = true"
        raise ConfigError(f"{section}.alphas", list(selection.alphas), allowed)
    if not 0 < selection.num_held_out(num_public) < num_public:
        allowed = f"at least one of the {num_public} public samples of a round on either side"
        raise ConfigError(f"{section}.holdout_fraction", selection.holdout_fraction, allowed)
