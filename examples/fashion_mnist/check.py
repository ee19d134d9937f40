"""Look at a front with nothing but onnxruntime: ``python check.py out.json``, after a search with ``--json out.json``.

For each model it prints accuracy on the test split, size and latency (one thread), each as found here and as reported.
"""

import gzip
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

DATA = Path("/usr/share/datasets/fashion-mnist")
images = np.frombuffer(gzip.open(DATA / "t10k-images-idx3-ubyte.gz").read(), np.uint8, offset=16)
labels = np.frombuffer(gzip.open(DATA / "t10k-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)
x = (images.reshape(-1, 1, 28, 28).astype(np.float32) / 255 - 0.2860) / 0.3530
options = ort.SessionOptions()
options.intra_op_num_threads = 1

for item in json.loads(Path(sys.argv[1]).read_text())["candidates"]:
    if item["state"] == "front":
        [file], reported = item["artifact"]["files"], item["metrics"]
        session = ort.InferenceSession(file, options)
        name = session.get_inputs()[0].name
        scores = np.concatenate([session.run(None, {name: x[i : i + 500]})[0] for i in range(0, len(x), 500)])
        stamps = [time.perf_counter()]
        for _ in range(5000):
            session.run(None, {name: x[:1]})
            stamps.append(time.perf_counter())
        latency = np.median(np.diff(stamps))
        print(
            f"{item['id']:3}  accuracy {np.mean(scores.argmax(1) == labels):.4f} {item['accuracy']['test']:.4f}  "
            f"size {Path(file).stat().st_size} {reported['size']['value']:.0f}  "
            f"latency {latency * 1e6:.1f} {reported['latency']['value'] * 1e6:.1f} µs"
        )
