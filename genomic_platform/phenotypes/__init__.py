"""Phenotypes: trials, lines and environments as people keep them, and the line means estimated from them.

Readers (`delimited`, `trials`, `lines`, `environments`), season labels (`seasons`) and stage one (`line_means`)
belong here: files and tables in, tables out. No Dagster, no MLflow, no settings.
"""
