"""The configuration of an experiment: one TOML file, validated as a whole. Importing this package loads no torch."""
