"""The report of a search, as one page or as Markdown, for people who never saw the tool."""
