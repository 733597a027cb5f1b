"""Drift: has the population or the environment moved away from what the models were trained on?

A library over arrays and tables. Decision rules are written in the module that makes the decision. What is done
about drift (alerts, retraining) belongs to those who read the reports.
"""
