"""`fedkd identities` makes what is missing, and says what it cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedkd.federation.secure.identities import read_roster


def test_identities_are_made_once(tmp_path: Path, invoke: Callable[..., str]) -> None:
    folder = tmp_path / "keys"
    assert "3 identities" in invoke("identities", folder, "--clients", "3")
    first = read_roster(folder / "roster.json")
    assert "5 identities" in invoke("identities", folder, "--clients", "5")
    assert read_roster(folder / "roster.json").items() > first.items()


def test_a_broken_roster_is_left_as_it_is(tmp_path: Path, refuse: Callable[..., str]) -> None:
    (tmp_path / "roster.json").write_text("{")
    assert "a roster as JSON" in refuse("identities", tmp_path, "--clients", "3")
    assert (tmp_path / "roster.json").read_text() == "{"
