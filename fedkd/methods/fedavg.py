"""`fedavg` and `fedprox`: the references without distillation; the server's average is the host framework's own."""

from __future__ import annotations

from pydantic import Field

from fedkd.methods.base import Method, MethodConfig, StartRule
from fedkd.methods.uploads import ModelWeights
from fedkd.training.local_terms import LocalTerm, Proximal


class FedAvgConfig(MethodConfig):
    """Keys of `fedavg` (McMahan et al. 2017)."""

    name: str = "fedavg"


class FedProxConfig(MethodConfig):
    """Keys of `fedprox` (Li et al. 2020)."""

    name: str = "fedprox"
    proximal_mu: float = Field(0.01, ge=0, description="weight of the proximal term mu/2·‖w − w_global‖²")


def compose(config: MethodConfig, average: StartRule) -> Method:
    """Weights travel both ways and are averaged by `average`; no teacher, nobody distils."""
    terms: tuple[LocalTerm, ...] = (Proximal(config.proximal_mu),) if isinstance(config, FedProxConfig) else ()
    return Method(name=config.name, uploads=(ModelWeights(),), start=average, local_terms=terms)
