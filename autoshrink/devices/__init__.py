"""Places where an artifact runs: this machine, others over SSH, nodes of a Ray cluster, phones, emulated boards."""
