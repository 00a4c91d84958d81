"""The public names, pinned: a change of them is a change of the version, and is made here, too."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from itertools import pairwise
from types import ModuleType

import pytest

import fedkd
from fedkd import errors

PUBLIC = {
    "fedkd": [
        "Aggregator",
        "ClientView",
        "Codec",
        "ConfigError",
        "DataError",
        "DeploymentError",
        "EngineError",
        "ExperimentConfig",
        "FedkdError",
        "LocalBatch",
        "LocalTerm",
        "MeanAggregator",
        "Method",
        "MethodConfig",
        "ModelError",
        "Observer",
        "OfflineConfig",
        "PartitionError",
        "PayloadError",
        "PolicyError",
        "Prediction",
        "PublicSetMismatchError",
        "Refinement",
        "RoundArrays",
        "RoundError",
        "RoundRecord",
        "Rows",
        "RowsSpec",
        "RunFolderError",
        "RunObserver",
        "RunRecord",
        "SecureAggregationError",
        "Stack",
        "Step",
        "StudyError",
        "Upload",
        "__version__",
        "distill",
        "load_config",
        "load_offline_config",
        "load_round",
        "load_student",
        "parse_config",
        "predict",
        "read_run",
        "resume",
        "rounds_frame",
        "run",
        "runs_frame",
        "write_comparison",
        "write_report",
    ],
    "fedkd.aggregation": [
        "AGGREGATORS",
        "Aggregator",
        "MeanAggregator",
        "MeanLogits",
        "Rule",
        "Stack",
        "Weights",
        "log_softmax",
        "make_aggregator",
        "weighted_average",
    ],
    "fedkd.methods": [
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
    ],
    "fedkd.payload": [
        "Arrays",
        "Codec",
        "Outgoing",
        "PayloadConfig",
        "Rows",
        "RowsSpec",
        "Seam",
        "Step",
    ],
}


def packages() -> list[ModuleType]:
    return [importlib.import_module(name) for name in PUBLIC]


every_package = pytest.mark.parametrize("package", packages(), ids=lambda package: package.__name__)


def documented_constants(module: ModuleType) -> set[str]:
    """Names of a module that are assigned and followed by a string."""
    body = ast.parse(inspect.getsource(module)).body
    names = set()
    for node, after in pairwise(body):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            names.add(target.id)
    return names


def module_of(package: ModuleType, name: str) -> ModuleType:
    """Where a package's `__init__` imports a name from."""
    for node in ast.walk(ast.parse(inspect.getsource(package))):
        if isinstance(node, ast.ImportFrom) and name in [each.name for each in node.names]:
            return importlib.import_module(str(node.module))
    return package


@every_package
def test_a_package_exports_what_is_pinned(package: ModuleType) -> None:
    assert package.__all__ == PUBLIC[package.__name__]


@every_package
def test_what_is_exported_is_sorted(package: ModuleType) -> None:
    """Constants, classes, functions, and each of them by name, as ruff sorts `__all__`."""
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "RUF022", str(package.__file__)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@every_package
def test_every_exported_name_is_there_and_documented(package: ModuleType) -> None:
    undocumented = []
    for name in package.__all__:
        value = getattr(package, name)
        if inspect.isclass(value):
            has_words = bool(vars(value).get("__doc__")) and not value.__doc__.startswith(f"{name}(")
        elif inspect.isfunction(value):
            has_words = bool(value.__doc__)
        else:
            has_words = name == "__version__" or name in documented_constants(module_of(package, name))
        undocumented += [] if has_words else [name]
    assert undocumented == []


def test_every_error_is_exported() -> None:
    kinds = {name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    assert len(kinds) > 10
    assert kinds <= set(fedkd.__all__)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'fedkd' has no attribute 'rum'"):
        fedkd.rum  # noqa: B018
    assert set(fedkd.__all__) <= set(dir(fedkd))


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import fedkd", ["numpy", "pydantic", "torch", "flwr", "pandas"]),
        ("import fedkd; fedkd.RoundRecord", ["numpy", "torch", "flwr", "pandas"]),
        ("import fedkd; fedkd.rounds_frame", ["pandas", "matplotlib", "ray"]),
    ],
)
def test_a_name_loads_only_what_it_needs(statement: str, absent: list[str]) -> None:
    code = f"{statement}; import sys; print([name for name in {absent} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
