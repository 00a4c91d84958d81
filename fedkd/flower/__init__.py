"""Everything that uses the private parts of Flower, or works round one of its limits.

Each module says what Flower must offer before it can be removed ("Can go when Flower …"). The private parts are pinned
by `flwr>=1.41,<1.42`; `tests/integration/test_flower_internals.py` fails when one of them changes.
"""
