"""Places where an artifact runs: this machine, others over SSH, phones over ADB, and emulated boards."""
