"""The configuration of an experiment: one TOML file, validated as a whole."""

from fedkd.config.experiment import ExperimentConfig, load_config, parse_config

__all__ = ["ExperimentConfig", "load_config", "parse_config"]
