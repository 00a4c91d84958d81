"""Training and evaluation of one model on arrays in memory."""
