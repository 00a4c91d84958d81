"""Secure aggregation between the messages of a round and `fedkd.secure_aggregation`, the protocol itself."""
