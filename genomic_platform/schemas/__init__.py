"""Table contracts, one per file: column, type, unit, meaning, sort key.

A table that crosses from one room to another has a contract here. What a number means is science, and
is said in the column's `meaning`. No computation belongs here.
"""

from genomic_platform.schemas.contract import Column, TableContract

__all__ = ["Column", "TableContract"]
