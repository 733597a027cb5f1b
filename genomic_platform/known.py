"""What was known at a season, as a training set, from the assets as they are stored.

Shared by the graph, which fits a season's candidates, and by `reproduce`, which fits one of them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from genomic_platform.catalogue import codec_of
from genomic_platform.genotypes.kinship.relationship_table import relationship_array
from genomic_platform.genotypes.quality.qc import apply_qc
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.recipes import RECIPES, SEARCH
from genomic_platform.stores.assets import AssetStore

#: What every recipe may learn from.
_BASIS = ("training_set", "genotype_panel", "genotype_qc", "relationship_matrix", "environment_features")
#: Attribute of TrainingSet that only some recipes learn from → the asset it comes from.
_BESIDES = {"pedigree": "pedigree", "families": "line_records", "line_means": "line_means"}
EVERYTHING = (*_BASIS, *_BESIDES.values())


def learnt_from(recipes: Iterable[str]) -> tuple[str, ...]:
    """Assets that models of these recipes learn from, of the season.

    A built-in recipe is given what it declares, so that no other edit makes it stale; one's own, everything. A search
    of settings folds by families besides.
    """
    wanted = {besides for recipe in recipes for name in [recipe.removeprefix(SEARCH)]
              for besides in (RECIPES[name].learns if name in RECIPES else _BESIDES)}
    wanted |= {"families"} if any(recipe.startswith(SEARCH) for recipe in recipes) else set()
    return (*_BASIS, *(asset for besides, asset in _BESIDES.items() if besides in wanted))


def learnt_before(recipes: Iterable[str]) -> tuple[str, ...]:
    """Those of `learnt_from` that are read of all earlier seasons too."""
    return tuple(asset for asset in learnt_from(recipes) if asset == "line_means")


def known_at(assets: AssetStore, season: str, recipes: Sequence[str]) -> TrainingSet:
    """What models of these recipes may learn from at the season, as the branch or commit of `assets` has it.

    Raises
    ------
    NotAvailable : an asset they learn from does not exist there. A pedigree is optional: old releases have none.
    """
    def read(asset: str, label: str = season) -> pl.DataFrame:
        return assets.read(asset, label, codec_of(asset))

    wanted = learnt_from(recipes)
    records = read("line_records") if "line_records" in wanted else None
    earlier = [label for label in assets.published() if label < season]
    return TrainingSet(
        season, read("training_set"),
        apply_qc(assets.read("genotype_panel", season, codec_of("genotype_panel")), read("genotype_qc")),
        relationship_array(read("relationship_matrix")), read("environment_features"),
        pedigree=read("pedigree") if "pedigree" in wanted and assets.record("pedigree", season) else None,
        line_means=pl.concat([read("line_means", label) for label in (*earlier, season)])
        if "line_means" in wanted else None,
        families=None if records is None else dict(records.select("line_id", "family").iter_rows()))
