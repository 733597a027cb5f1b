"""Genotype batches of several platforms and seasons into one panel: matching, harmonising, comparing, reporting."""
