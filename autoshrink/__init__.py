"""autoshrink: a declarative search for compressed models, measured on the runtime that they ship on."""

__version__ = "0.1.0"
