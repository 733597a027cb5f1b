"""How runs and steps are started. The only room that may touch Dagster's internals (`dagster._core`)."""
