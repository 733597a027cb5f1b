"""Whole-genome regression where lines are too many for a relationship matrix: all of it is passes over packed calls."""
