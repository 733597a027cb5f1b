"""The landing files as external assets: where lineage starts. Steps that read them report the digest they read."""

import dagster as dg

from genomic_platform.defs.partitions import field_season
from genomic_platform.defs.season_asset import OWNERS


def _landing(kind: str, kinds: set[str], description: str) -> dg.AssetSpec:
    return dg.AssetSpec(f"landing_{kind}", group_name="landing", kinds=kinds, owners=OWNERS, description=description,
                        partitions_def=field_season)


landing_files = [
    _landing("genotypes", {"file"}, "Variant files in `landing/genotypes` (VCF, BCF, PLINK, …)."),
    _landing("trials", {"csv"}, "Trial records in `landing/trials`, one file for all seasons or one a season."),
    _landing("lines", {"csv"}, "Optional `landing/lines`: synonyms, families, parents, roles, first season known."),
    _landing("pedigree", {"csv"}, "Optional `landing/pedigree`: parents of lines, checked against the genotypes."),
    _landing("environments", {"csv"}, "Optional `landing/environments`: one row per environment; daily weather."),
]
