"""Genotypes: readers, the packed table and its statistics; and, each in a room of its own, merging of batches, quality,
kinship, population structure and imputation.

A library over arrays and tables: no orchestration, no model registry, no settings. Calls are dosages of ALT
(0, 1, 2; −1 missing), kept at two bits each. How lines are valued from them belongs in `models/`.
"""
