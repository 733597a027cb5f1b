"""Genomic prediction for plant-breeding programmes, season after season."""

__version__ = "0.1.0"
