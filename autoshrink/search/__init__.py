"""The engine: draws recipes, has them compressed and measured, keeps what is finished, and confirms the front."""

import os

# Read by Ray when it is imported. What it has to say of its own processes (a worker died) would stand in the middle of
# our output, on the standard output; what it means for a candidate is said there.
os.environ.setdefault("RAY_DEDUP_LOGS", "1")
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "(?s).")
