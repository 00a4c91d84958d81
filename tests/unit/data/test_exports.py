import json
import subprocess
import sys

import fedkd.data

HEAVY = ["torch", "torchvision", "datasets", "flwr_datasets", "sklearn", "matplotlib"]


def test_every_export_is_there_and_sorted():
    assert fedkd.data.__all__ == sorted(fedkd.data.__all__)
    assert all(hasattr(fedkd.data, name) for name in fedkd.data.__all__)


def test_importing_the_room_loads_nothing_heavy():
    program = f"import json, sys, fedkd.data; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == []
