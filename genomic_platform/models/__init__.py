"""Prediction models and how they are judged: a library, without Dagster, MLflow or settings.

Arrays and tables in, arrays and tables out. Axes: N lines, M markers, T traits, E environments.
"""
