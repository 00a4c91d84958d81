"""Numbers as people read them. One place, so that terminal, Markdown, plots and HTML say the same."""

from __future__ import annotations

MISSING = "–"
"""Stands for what a method does not have, or what nobody measured."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction in [0, 1] as `"71.2 %"`, or a dash for `None`."""
    return MISSING if fraction is None else f"{100 * fraction:.{digits}f} %"


def points(fraction: float | None, reference: float | None) -> str:
    """Return how many percentage points `fraction` lies above `reference`, as `"+8.1 points"`; a dash where unknown."""
    if fraction is None or reference is None:
        return MISSING
    return f"{_no_minus_zero(100 * (fraction - reference), 1):+.1f} points"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with `digits` decimals, or a dash for `None`."""
    return MISSING if value is None else f"{_no_minus_zero(value, digits):.{digits}f}"


def size(count: int) -> str:
    """Return a byte count in decimal units: 1 kB is 1000 bytes."""
    scaled, unit = float(count), 0
    while round(scaled, 1) >= 1000 and unit < len(_UNITS) - 1:
        scaled, unit = scaled / 1000, unit + 1
    return f"{count} B" if unit == 0 else f"{scaled:.1f} {_UNITS[unit]}"


def size_unit(count: float) -> tuple[int, str]:
    """Return the decimal unit in which `count` bytes read best, as (bytes per unit, name)."""
    unit = 0
    while count >= 1000 ** (unit + 1) and unit < len(_UNITS) - 1:
        unit += 1
    return 1000**unit, _UNITS[unit]


def duration(seconds: float) -> str:
    """Return seconds as `"4.1 s"`, `"3 min 05 s"` or `"2 h 07 min"`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def words(name: str) -> str:
    """Return the field name `local_training` as the words `local training`."""
    return name.replace("_", " ")


def _no_minus_zero(value: float, digits: int) -> float:
    return round(value, digits) + 0.0
