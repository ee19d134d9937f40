"""``python -m autoshrink``: the command line."""

from autoshrink.cli import main

if __name__ == "__main__":
    main()
