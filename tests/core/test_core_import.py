import json
import os
import subprocess
import sys

HEAVY = {
    "torch",
    "numpy",
    "optuna",
    "ray",
    "mlflow",
    "onnx",
    "onnxruntime",
    "moocore",
    "sklearn",
    "matplotlib",
    "plotly",
}

LOOK = """
import json, sys, time
before = time.process_time()
import autoshrink.core
print(json.dumps([time.process_time() - before, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_the_core_loads_no_framework_and_quickly():
    alone = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    answer = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, env=alone)
    seconds, modules = json.loads(answer.stdout)
    assert not HEAVY & set(modules)
    # Processor time, pydantic and YAML included: 0.2 s on a quiet machine.
    assert seconds < 0.5
