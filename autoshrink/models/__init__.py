"""The user's model and data: loading, splits, metrics and the recovery training loop."""
