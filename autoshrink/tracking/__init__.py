"""Where searches are written down for people: MLflow and the picture of the front; the only importer of mlflow."""
