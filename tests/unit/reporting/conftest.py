"""Parts of a run's report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest

from fedkd.records import RunRecord
from fedkd.reporting import ReportedRun, render_report
from fedkd.reporting.plot import Plot


def section_of_report(run: RunRecord, key: str, plots: Mapping[str, Plot] | None = None) -> str:
    """One section of a run's report, or an empty string where the report has no such section."""
    document = render_report(ReportedRun(run), plots or {})
    found = re.search(rf'<section aria-labelledby="{key}">.*?</section>', document, flags=re.DOTALL)
    return "" if found is None else found[0]


@pytest.fixture(scope="session")
def section_of() -> Callable[..., str]:
    return section_of_report
