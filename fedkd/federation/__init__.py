"""The federation: the round, as a Flower server app and client app."""
