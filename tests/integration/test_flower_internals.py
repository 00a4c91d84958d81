"""The private parts of Flower that engines stand on: these tests fail when one of them moves."""

from __future__ import annotations

import inspect
import io
import logging
import re
import threading
import warnings
from pathlib import Path
from types import ModuleType

import flwr
import pytest
from flwr.app import Message, RecordDict
from flwr.cli.build import build_fab_from_disk
from flwr.common.constant import (
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION,
    HEARTBEAT_MIN_INTERVAL,
    HEARTBEAT_PATIENCE,
    ErrorCode,
)
from flwr.server.superlink.linkstate import utils
from flwr.supercore import heartbeat, telemetry
from flwr.supercore import log as flwr_log
from flwr.supercore.constant import FLWR_DISABLE_UPDATE_CHECK
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.logger import LOGGER_NAME, console_handler
from flwr.supercore.routers import health
from flwr.supercore.superexec.run_superexec import _TASK_POLL_INTERVAL_ENV
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import http_grid
from flwr.supernode import fleet_http_connection, start_client_internal
from flwr.supernode.cli.flower_supernode import _parse_args_run_supernode
from flwr.supernode.runtime import run_clientapp

from fedkd.errors import ConfigError
from fedkd.flower import app_bundle, internals, supernode_patches, task_queue
from fedkd.flower.object_pulls import look_often_for_objects


def test_the_pinned_version_is_installed() -> None:
    assert flwr.__version__.split(".")[:2] == ["1", "41"]


def test_messages_can_be_built_under_an_identity_and_it_is_given_back() -> None:
    with internals.task_identity(run_id=7, node_id=3):
        message = Message(RecordDict(), dst_node_id=5, message_type="train")
        assert (message.metadata.run_id, message.metadata.src_node_id) == (7, 3)
        with internals.task_identity(run_id=8, node_id=4):
            assert TaskIdentity.run_id == 8
        assert TaskIdentity.run_id == 7


def test_without_an_identity_flower_builds_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaskIdentity, "_run_id", None)
    with pytest.raises(RuntimeError):
        Message(RecordDict(), dst_node_id=5, message_type="train")


def test_a_reply_carries_the_id_of_its_request() -> None:
    with internals.task_identity(run_id=1, node_id=0):
        request = Message(RecordDict(), dst_node_id=5, message_type="train")
        internals.set_message_id(request, "m-1")
        assert Message(RecordDict(), reply_to=request).metadata.reply_to_message_id == "m-1"


def test_a_new_run_has_its_id() -> None:
    assert internals.new_run(11).run_id == 11


def test_the_environment_speaks_of_variables_that_flower_reads() -> None:
    known = {FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION, FLWR_DISABLE_UPDATE_CHECK, _TASK_POLL_INTERVAL_ENV}
    known |= {name for name in vars(telemetry) if name == "FLWR_TELEMETRY_ENABLED"}
    assert {name for name in internals.RUNTIME_ENVIRONMENT if name.startswith("FLWR_")} == known


def test_a_superlink_answers_where_it_is_asked() -> None:
    assert internals.HEALTH_PATH in {getattr(route, "path", None) for route in health.router.routes}


@pytest.fixture
def flower_log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What Flower's own handler prints once our filter is there; the filter goes with the test."""
    stream = io.StringIO()
    monkeypatch.setattr(console_handler, "stream", stream)
    monkeypatch.setattr(logging.getLogger(LOGGER_NAME), "filters", [])
    internals.log_our_errors_as_lines()
    internals.log_our_errors_as_lines()
    return stream


def test_our_errors_are_logged_as_one_line(flower_log: io.StringIO) -> None:
    error = ConfigError("clients.number", 10, "5 nodes\nhave joined")
    flwr_log(logging.ERROR, "%s raised an exception", "ServerApp", exc_info=error)
    line = flower_log.getvalue()
    assert "error: clients.number = 10 is not allowed: 5 nodes have joined" in line
    assert line.count("\n") == 1


def test_a_defect_keeps_its_traceback(flower_log: io.StringIO) -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError as defect:
        flwr_log(logging.ERROR, "%s raised an exception", "ServerApp", exc_info=defect)
    assert "ServerApp raised an exception" in flower_log.getvalue()
    assert "Traceback" in flower_log.getvalue()


def test_the_filter_is_there_once(flower_log: io.StringIO) -> None:
    assert len(logging.getLogger(LOGGER_NAME).filters) == 1


def test_a_site_finds_what_it_needs_of_flowers_runtime() -> None:
    assert task_queue.TaskType.CLIENT_APP
    for function, names in {
        task_queue.pull_task_input: ["client"],
        task_queue.push_message: ["client", "message", "context"],
        task_queue.push_task_output: ["client", "context", "sub_status", "details"],
        supernode_patches.start_parent_process_monitor: ["parent_pid"],
    }.items():
        assert list(inspect.signature(function).parameters) == names


@pytest.mark.parametrize("module", [http_grid, start_client_internal, inflatable_utils])
def test_whoever_pulls_objects_waits_as_long_as_the_function_says(module: ModuleType) -> None:
    """Its defaults are what `look_often_for_objects` changes."""
    (call, *others) = re.findall(r"(?<!def )\bpull_objects\((.*?)\n +\)", inspect.getsource(module), re.DOTALL)
    assert not others
    for name in ("initial_backoff", "backoff_cap", "max_tries_per_object"):
        passed_on = f"{name}={name}" in call  # by `pull_and_inflate_object_from_tree`, whose defaults change, too
        assert passed_on == (module is inflatable_utils)
    pull = inspect.getsource(run_clientapp.pull_task_input)
    assert "pull_and_inflate_object_from_tree(" in pull
    assert not any(name in pull for name in ("backoff", "max_tries"))


def test_objects_that_are_not_there_are_looked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pulls = (inflatable_utils.pull_objects, inflatable_utils.pull_and_inflate_object_from_tree)
    for pull in pulls:
        monkeypatch.setattr(pull, "__kwdefaults__", {**pull.__kwdefaults__, "initial_backoff": 1.0})
    waited, missing = [], iter([True] * 12)

    class Waiting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout)
            return True

    def pull_object(object_id: str) -> bytes:
        if next(missing, False):
            raise inflatable_utils.ObjectUnavailableError(object_id)
        return b"content"

    look_often_for_objects()
    with monkeypatch.context() as patch:
        patch.setattr(inflatable_utils.threading, "Event", Waiting)
        assert pulls[0](["a"], pull_object) == {"a": b"content"}
    looks = [seconds for seconds in waited if seconds is not None]
    assert len(looks) == 12
    assert looks[0] < 0.03
    assert 8 <= max(looks) <= 12
    assert pulls[1].__kwdefaults__["initial_backoff"] == pulls[0].__kwdefaults__["initial_backoff"]


def test_a_supernode_gives_signs_of_life_as_often_as_a_site_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (heartbeat, "HEARTBEAT_DEFAULT_INTERVAL"),
        (heartbeat, "exponential"),
        (fleet_http_connection, "HEARTBEAT_DEFAULT_INTERVAL"),
        (start_client_internal, "time"),
        (inflatable_utils.pull_objects, "__kwdefaults__"),
        (inflatable_utils.pull_and_inflate_object_from_tree, "__kwdefaults__"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # given back afterwards
    monkeypatch.setattr(supernode_patches, "flower_supernode", lambda: None)
    monkeypatch.setattr(supernode_patches, "wait_for_the_right_reply", lambda: None)
    monkeypatch.setattr(supernode_patches, "start_parent_process_monitor", lambda _: None)
    monkeypatch.setattr(supernode_patches.os, "_exit", lambda _: None)
    monkeypatch.setattr(supernode_patches.sys, "argv", ["supernode"])
    supernode_patches.main()
    assert isinstance(start_client_internal.time, supernode_patches.ShorterWaits)
    assert inflatable_utils.pull_objects.__kwdefaults__["initial_backoff"] < 0.1
    waited: list[float] = []
    heard = iter([True, False, False, False, False, False, False, True])

    class Waiting(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return False

    def beat() -> bool:
        got_through = next(heard, None)
        if got_through is None:
            sender._stop_event.set()
        return got_through is not False

    with monkeypatch.context() as patch:
        patch.setattr(heartbeat.threading, "Event", Waiting)
        sender = heartbeat.HeartbeatSender(beat)
    sender._run()
    first, *retries, second, _ = waited
    assert 7 <= first <= 9
    assert 7 <= second <= 9
    assert len(retries) == 6
    assert max(retries) <= 4
    connection = inspect.getsource(fleet_http_connection)
    assert connection.count("heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL") == 2  # which the SuperLink is told
    assert HEARTBEAT_MIN_INTERVAL <= fleet_http_connection.HEARTBEAT_DEFAULT_INTERVAL == 15
    assert HEARTBEAT_PATIENCE == 2


def test_a_supernode_waits_by_the_function_that_a_site_hastens() -> None:
    source = inspect.getsource(start_client_internal)
    assert set(re.findall(r"\btime\.(\w+)", source)) == {"sleep"}
    assert "time.sleep(3)" in source


def test_a_supernode_fetches_and_replies_by_the_functions_that_a_site_gives_its_view_of_the_state() -> None:
    loop = inspect.getsource(start_client_internal.start_client_internal)
    for half in ("_pull_and_store_message", "_push_messages"):
        assert f"{half}(\n                state=state," in loop
    assert "state.store_message(" in inspect.getsource(start_client_internal._pull_and_store_message)
    waiting = inspect.getsource(start_client_internal._push_messages)
    assert "while not (reply_messages := state.get_messages_legacy(is_reply=True)):" in waiting


def test_flowers_own_grid_still_polls_every_three_seconds() -> None:
    """Otherwise `PollingGrid` can go."""
    assert "time.sleep(3)" in inspect.getsource(http_grid.HttpGrid.send_and_receive)


def test_a_supernode_still_has_no_options_for_what_is_patched(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise the patches of `supernode_patches` can go."""
    with pytest.raises(SystemExit):
        _parse_args_run_supernode().parse_args(["--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert "--superlink" in options
    assert not [each for each in options if re.search("poll|interval|heartbeat|parent", each)]


def test_the_logger_that_is_made_quiet_is_flowers() -> None:
    logger = logging.getLogger(LOGGER_NAME)
    before = logger.level
    with internals.quiet_logger():
        assert logger.level == logging.WARNING
    assert logger.level == before


def test_flower_speaks_for_nodes_that_are_gone_under_its_own_name() -> None:
    spoken = inspect.getsource(utils.create_message_error_unavailable_res_message)
    assert "src_node_id=SUPERLINK_NODE_ID" in spoken
    for name in ("NODE_UNAVAILABLE", "REPLY_MESSAGE_UNAVAILABLE"):
        assert f"ErrorCode.{name}" in spoken
        assert getattr(ErrorCode, name) in internals.GONE


def test_the_bundle_is_what_flwr_run_makes(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Flower's, of pathspec
        app_bundle.write_app(tmp_path)
        assert build_fab_from_disk(tmp_path) == app_bundle.bundle()
    (tmp_path / "extra.py").write_text("")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert app_bundle.bundle_hash(build_fab_from_disk(tmp_path)) != app_bundle.bundle_hash()
