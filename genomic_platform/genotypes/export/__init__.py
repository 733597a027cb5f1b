"""The genotype table in files of other programs, one module a format; read back, each gives the same table.

Files are written beside their place and moved there whole: a failure leaves what was there before.
"""

from genomic_platform.genotypes.export.bed import to_bed
from genomic_platform.genotypes.export.vcf import to_vcf
from genomic_platform.genotypes.export.vcz import to_vcz

__all__ = ["to_bed", "to_vcf", "to_vcz"]
