"""Start the program from the command line."""

import sys

from .program import main

main(*sys.argv[1:])
