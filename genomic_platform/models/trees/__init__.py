"""Boosted trees: what they see of a line, how they are grown and stopped, the fitted model, the recipe."""
