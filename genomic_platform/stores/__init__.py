"""Outside state: the versioned store of tables and models, and the MLflow registry. Nothing else speaks to them."""
