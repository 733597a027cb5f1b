"""How Dagster hands tables and model folders from step to step: through the versioned store."""
