"""Federated methods, one file each: small compositions of parts. `registry` finds them by name."""

from fedkd.methods.base import Contribution, Method, MethodConfig, previous_weights
from fedkd.methods.refinements import EntropyReduction, Refinement
from fedkd.methods.registry import REFERENCES, available_methods, build_method, method_config_type
from fedkd.methods.uploads import (
    ClassLogits,
    ClientView,
    ModelWeights,
    Prototypes,
    PublicLogits,
    Selected,
    Upload,
    Votes,
)

__all__ = [
    "REFERENCES",
    "ClassLogits",
    "ClientView",
    "Contribution",
    "EntropyReduction",
    "Method",
    "MethodConfig",
    "ModelWeights",
    "Prototypes",
    "PublicLogits",
    "Refinement",
    "Selected",
    "Upload",
    "Votes",
    "available_methods",
    "build_method",
    "method_config_type",
    "previous_weights",
]
