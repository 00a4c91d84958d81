"""What the server app makes of a run config."""

from __future__ import annotations

from typing import cast

import pytest
from flwr.app import Context, RecordDict
from flwr.serverapp import Grid

from fedkd import flower_app
from fedkd.errors import ConfigError
from fedkd.flower.app_bundle import EXPERIMENT_KEY, RESUMED_KEY


def test_a_run_to_go_on_with_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flower_app, "log_our_errors_as_lines", lambda: None)  # it would stay so for other tests
    run_config = {EXPERIMENT_KEY: '{"run": {"name": ""}}', RESUMED_KEY: "7"}
    context = Context(run_id=8, node_id=1, node_config={}, state=RecordDict(), run_config=run_config)
    with pytest.raises(ConfigError, match=r"run\.name = '' is not allowed: the name of the run folder to go on with"):
        flower_app.main(cast(Grid, None), context)
