"""Places where an artifact runs: this machine, others over SSH or in a Ray cluster, phones over ADB, emulated boards."""
