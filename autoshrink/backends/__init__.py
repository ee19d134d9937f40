"""Runtimes that a model is deployed on, one file or folder each, found by name."""
