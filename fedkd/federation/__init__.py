"""The federation: the only room that knows Flower."""
