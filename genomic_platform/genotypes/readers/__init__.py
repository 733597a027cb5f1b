"""Genotype files into packed calls, one module a format.

Each reader checks every line and every call of its file and reports all problems at once. Putting files together
belongs in `genotypes/read.py`, merging batches in `genotypes/merging/`.
"""
