"""What the measuring measures, against processes whose cost is known."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.child import Stopwatch, main
from benchmarks.measure import Case, measure
from benchmarks.process_tree import ProcessTree, read_pss, read_stat

_HOLD_64_MIB = "import time; block = b'x' * (64 * 2**20); time.sleep(0.8)"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_cpu_seconds_are_those_of_the_kernel() -> None:
    burn(0.1)
    stat = read_stat(os.getpid())
    assert stat is not None
    assert stat.own_seconds == pytest.approx(time.process_time(), abs=0.05)
    assert stat.parent == os.getppid()


def test_a_process_that_is_gone_is_no_error() -> None:
    process = subprocess.Popen(python("pass"))
    process.wait()
    assert read_stat(process.pid) is None
    assert read_pss(process.pid) == 0


def test_memory_is_no_more_than_the_resident_set() -> None:
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert 0.2 * resident < read_pss(os.getpid()) < 1.2 * resident


def test_a_grandchild_is_followed_after_its_parent_has_gone() -> None:
    grandchild = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3)'])"
    process = subprocess.Popen(python(f"{grandchild}; time.sleep(0.7)"))
    tree, most = ProcessTree(process.pid), 0
    while process.poll() is None:
        most = max(most, len(tree.processes()))
        time.sleep(0.05)
    (orphan,) = [stat for stat in tree.processes() if stat.pid != process.pid]
    os.kill(orphan.pid, 9)
    assert most == 2


def test_wall_cpu_and_memory_of_a_command_include_its_child() -> None:
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_HOLD_64_MIB!r}], check=True)"
    measured = measure(Case("hold", command=python(code)))
    assert measured.error is None
    assert 0.8 < measured.wall < 8
    assert 64 < measured.peak_mib < 128


def test_cpu_seconds_of_children_are_counted() -> None:
    busy = "import time\nwhile time.process_time() < 0.6: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}], check=True)"
    assert 0.6 <= measure(Case("busy", command=python(code))).cpu < 1.2


def test_a_case_that_fails_says_why() -> None:
    measured = measure(Case("fails", command=python("raise SystemExit('no such data')")))
    assert measured.error == "exit 1: no such data"


def test_a_function_is_measured_between_its_marks() -> None:
    measured = measure(Case("empty", "benchmarks.empty_rounds:run", {"engine": "local", "rounds": 1}))
    assert measured.values == {"rounds": 1, "sum": pytest.approx(25_000)}
    assert measured.start_up is not None
    assert measured.rounds is not None
    assert 0 < measured.rounds < measured.start_up < measured.start_up + measured.rounds < measured.wall


def test_a_function_that_is_not_there_is_a_failure() -> None:
    measured = measure(Case("absent", "benchmarks.absent:run"))
    assert measured.error == "exit 1: ModuleNotFoundError: No module named 'benchmarks.absent'"
    assert measured.rounds is None


def test_the_first_begin_and_the_last_end_count() -> None:
    watch = Stopwatch()
    assert watch.marks() == {}
    watch.begin()
    burn(0.1)
    watch.begin()
    watch.end()
    time.sleep(0.2)
    watch.end()
    marks = watch.marks()
    assert 0.3 <= marks["rounds"] < 3
    assert 0.07 <= marks["rounds_cpu"] < 0.25


def test_the_child_writes_values_and_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "napping.py").write_text(
        "def nap(watch, told):\n    watch.begin()\n    watch.end()\n    return {'told': told}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    main("napping:nap", '{"told": 3}', str(tmp_path / "result.json"))
    text = (tmp_path / "result.json").read_text()
    assert '"values": {"told": 3}' in text
    assert '"rounds": ' in text
