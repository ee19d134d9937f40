"""What the command line shows: tables, the live view of a search, and errors."""
