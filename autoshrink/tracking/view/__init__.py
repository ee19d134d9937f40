"""The Pareto view: pages beside MLflow's own, in MLflow's server."""
