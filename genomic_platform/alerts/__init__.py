"""Alerts: what a person should hear of without looking, kept once per cause, and sent through channels.

Telling an alert needs no Dagster; what is read from a Dagster instance is in `from_runs.py` and `from_sensors.py`.
"""
