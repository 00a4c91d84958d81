from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import fedkd.reporting
from fedkd.records import RunRecord

HEAVY = ("torch", "jinja2", "matplotlib", "tensorboardX", "flwr", "ray")

REPORT_ALL = """
import sys
from pathlib import Path
import numpy as np
import fedkd.reporting as reporting
from fedkd.records import PartitionRecord

store = reporting.RunStore.open(Path(sys.argv[1]))
run = store.read_run()
partition = PartitionRecord(class_names=tuple("abcdefghij"), counts=((1,) * 10,), skew={}, description="")
store.write_student({"w": np.ones(2)}, {})
store.read_student(), store.read_student_metadata()
reported = reporting.ReportedRun(run, store.read_config(), {}, partition)
plots = reporting.run_plots(run, partition)
reporting.write_plots(store, plots)
store.write_report(reporting.render_report(reported, plots))
reporting.render_comparison([reported, reported])
reporting.result_table(run), reporting.cost_table(run)
loaded = {"torch", "flwr", "ray", "tensorboardX", "matplotlib.pyplot"} & sys.modules.keys()
sys.exit(f"loaded {sorted(loaded)}" if loaded else 0)
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", *arguments], capture_output=True, text=True, check=False)


def test_importing_the_room_loads_nothing_heavy() -> None:
    result = python("-c", f"import sys, fedkd.reporting; sys.exit(str([n for n in {HEAVY} if n in sys.modules] or ''))")
    assert result.stderr.strip() == ""


def test_writing_a_whole_report_loads_no_torch(tmp_path: Path, make_run: Callable[..., RunRecord]) -> None:
    store = fedkd.reporting.RunStore.create(tmp_path, "a-run")
    store.write_config({"method": "fkd"})
    store.write_run(make_run(2))
    result = python("-c", REPORT_ALL, str(store.path))
    assert (result.returncode, result.stderr) == (0, "")
    assert store.report_path.stat().st_size > 10_000


def test_every_exported_name_is_there() -> None:
    assert fedkd.reporting.__all__ == sorted(fedkd.reporting.__all__)
    assert all(hasattr(fedkd.reporting, name) for name in fedkd.reporting.__all__)
