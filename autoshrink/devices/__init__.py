"""Places where an artifact runs: this machine, and later ssh, adb and emulated boards."""
