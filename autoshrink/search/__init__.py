"""The engine: draws recipes, has them compressed and measured, keeps what is finished, and confirms the front."""
