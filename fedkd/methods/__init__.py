"""Federated methods, one file each: small compositions of parts. `registry` finds them by name."""

from fedkd.methods.base import Contribution, Method, MethodConfig
from fedkd.methods.registry import REFERENCES, available_methods, build_method, method_config_type

__all__ = [
    "REFERENCES",
    "Contribution",
    "Method",
    "MethodConfig",
    "available_methods",
    "build_method",
    "method_config_type",
]
