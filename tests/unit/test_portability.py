"""What `fedkd simulate` loads with the local engine exists on Linux, macOS and Windows."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

POSIX_MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
POSIX_NAMES = {"fork", "geteuid", "getegid", "getuid", "O_DIRECTORY", "SIGKILL", "SIGHUP", "SIGALRM"}
REFUSED_ELSEWHERE = {"process_guard.py"}
"""Runs only under the engine `flower`, which refuses to start on a system that is not POSIX."""

PROGRAM = """
import sys
import fedkd.cli.main, fedkd.experiment, fedkd.federation.client_app, fedkd.federation.server_app
print(*(module.__file__ for name, module in sys.modules.items() if name.startswith("fedkd.")), sep="\\n")
"""


def test_nothing_that_a_local_simulation_loads_needs_posix() -> None:
    loaded = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True).stdout.split()
    assert any(path.endswith("local.py") for path in loaded)
    found = {path: needed for path in map(Path, loaded) if (needed := posix_only(path))}
    assert {path.name for path in found} == REFUSED_ELSEWHERE, found


def posix_only(path: Path) -> set[str]:
    """Modules and attributes in a file that only POSIX systems have."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return (imported & POSIX_MODULES) | (attributes & POSIX_NAMES)
