"""Classifiers by name: float32 images [N, channels, H, W] or int64 tokens [N, length] in, logits [N, classes] out."""

from fedkd.models.registry import available_models, build_model, check_model_name, num_parameters

__all__ = ["available_models", "build_model", "check_model_name", "num_parameters"]
