"""What of a configuration can be told to fit only once models are built, told before anyone trains."""

from __future__ import annotations

import torch

from fedkd.config.experiment import ExperimentConfig
from fedkd.distillation import relation_terms
from fedkd.distillation.terms import student_taps
from fedkd.errors import ConfigError
from fedkd.federation.workspace import Workspace
from fedkd.methods import Method
from fedkd.models.batch_norm import batch_norm_layers
from fedkd.models.taps import FeatureTaps

_PROBE_SAMPLES = 2


def check_models(config: ExperimentConfig, method: Method, workspace: Workspace) -> None:
    """Build every model once, and refuse what does not fit it.

    Raises:
        ModelError: a model does not fit the data, or a term that it learns by names no module of it, or one that has
            no single output: two public samples are passed through each model that learns by terms.
        ConfigError: `method.batch_norm_alignment` with a student without batch norm, or a soft loss that is an import
            path that leads to no function.
    """
    student, clients, local = config.student, config.clients.models, config.method.local_distillation
    built = {name: workspace.build_model(name, config.run.seed) for name in sorted({*clients, student.model})}
    kept = method.server_models(student.model, clients)
    not_replaced = sorted(set(clients) - set(kept if method.adopts == "model" else ()))
    for objective, learners in ((student.objective, kept if method.distils else ()), (local.objective, not_replaced)):
        if learners:
            objective.soft_loss()
        names = student_taps(relation_terms(objective.terms))
        for name in learners if names else ():
            with FeatureTaps(built[name].eval(), names) as taps, torch.no_grad():
                built[name](workspace.public_inputs[:_PROBE_SAMPLES])
                _ = taps.features
    if config.method.batch_norm_alignment and not batch_norm_layers(built[student.model]):
        raise ConfigError(
            "method.batch_norm_alignment", True, f"false with student.model = {student.model!r}, without batch norm"
        )
