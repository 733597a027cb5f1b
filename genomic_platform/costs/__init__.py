"""What the work of a programme costs: a line for each step, prices, totals of a month, and its budget.

Steps hand in what they know of themselves, so there is no Dagster here.
"""
