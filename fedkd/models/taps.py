"""What a model computes on the way: the outputs of modules by name, read by hooks. The model is not edited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from fedkd.errors import ModelError, nearest


class FeatureTaps:
    """Keeps the outputs of some modules of a model at its latest call, until it is closed.

        with FeatureTaps(model, ["features.5"]) as taps:
            logits_NC = model(images_NCHW)
            maps = taps.features["features.5"]

    A tensor keeps its graph, so that losses on it reach the model.

    Args:
        model: any module.
        names: of modules as `model.named_modules()` has them; the empty name is the model itself.

    Raises:
        ModelError: a name is unknown; the message offers the nearest. And from the model's call: a tapped module
            returns no tensor, or is called twice in it.
    """

    def __init__(self, model: nn.Module, names: Iterable[str]) -> None:
        modules = dict(model.named_modules())
        self._names = tuple(dict.fromkeys(names))
        for name in self._names:
            if name not in modules:
                known = ", ".join(filter(None, modules))
                raise ModelError(f"the model has no module {name!r}{nearest(name, modules)}: it has {known}")
        self._features: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}
        self._hooks = [model.register_forward_pre_hook(self._forget)] if self._names else []
        self._hooks += [modules[name].register_forward_hook(self._keeper(name)) for name in self._names]

    @property
    def features(self) -> Mapping[str, Tensor]:
        """The outputs of the tapped modules at the model's latest call, by name.

        Raises:
            ModelError: a module was not reached in it, or the model was not called; or an output was overwritten
                behind its module, as by `nn.ReLU(inplace=True)`.
        """
        missing = [name for name in self._names if name not in self._features]
        if missing:
            raise ModelError(f"modules {missing} have no output: the model was not called, or did not reach them")
        for name, output in self._features.items():
            if _version(output) != self._versions[name]:
                raise ModelError(
                    f"the output of module {name!r} was changed in place after it was returned: "
                    "tap the module behind it, which changes it"
                )
        return dict(self._features)

    def close(self) -> None:
        """Take the hooks away and forget the outputs."""
        for hook in self._hooks:
            hook.remove()
        self._features.clear()

    def __enter__(self) -> FeatureTaps:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _forget(self, *_: Any) -> None:
        self._features.clear()

    def _keeper(self, name: str) -> Any:
        def keep(module: nn.Module, _: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise ModelError(f"module {name!r} returns a {type(output).__name__}: only tensors can be tapped")
            if name in self._features:
                raise ModelError(
                    f"module {name!r} ({type(module).__name__}) is called twice in one call of the model: "
                    "tap the modules around it"
                )
            self._features[name], self._versions[name] = output, _version(output)

        return keep


def _version(output: Tensor) -> int:
    """How often a tensor has been changed in place; torch does not count in inference mode, where nobody learns."""
    return 0 if output.is_inference() else output._version
