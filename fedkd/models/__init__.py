"""Image classifiers by name: float32 images [N, channels, H, W] in, logits [N, classes] out."""

from fedkd.models.registry import available_models, build_model, check_model_name, num_parameters

__all__ = ["available_models", "build_model", "check_model_name", "num_parameters"]
