"""Every asset of the graph by name, and how its content is stored: what steps hand on and what `export` can give."""

from __future__ import annotations

from genomic_platform.drift.season_pages import PAGE_FILES, SeasonPages
from genomic_platform.genotypes.merging.batch_set import GenotypeBatches
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.candidate import COST, FittedCandidate
from genomic_platform.results.season_page import SeasonPage
from genomic_platform.schemas import genotypes, monitoring, pedigree, phenotypes, predictions
from genomic_platform.stores.assets import Codec, FolderCodec, TableCodec

TABLES = (
    phenotypes.TRIAL_RECORDS, phenotypes.LINE_RECORDS, phenotypes.DAILY_WEATHER, phenotypes.ENVIRONMENT_RECORDS,
    phenotypes.ENVIRONMENT_FEATURES, phenotypes.LINE_MEANS, phenotypes.TRAINING_SET,
    genotypes.BATCH_REPORT, genotypes.GENOTYPE_QC, genotypes.POPULATION_STRUCTURE, genotypes.RELATIONSHIP_MATRIX,
    pedigree.PEDIGREE, pedigree.PARENTAGE,
    predictions.FORWARD_PREDICTIONS, predictions.RECIPE_DIFFERENCES, predictions.MODEL_COMPARISON,
    predictions.REGISTERED_MODEL, predictions.VALUES, predictions.SELECTION_INDEX,
    predictions.REALISED_ACCURACY, predictions.DRIFT_REPORT,
    monitoring.POPULATION_SHIFT, monitoring.LINE_TRUST, monitoring.INPUT_DRIFT, monitoring.PREDICTION_DRIFT,
    monitoring.ACCURACY_PROMISE, monitoring.RETRAINING_EFFECT,
)

CANDIDATE = FolderCodec(FittedCandidate.load, circumstances=("run.json", COST))

#: But for candidates: which recipes a programme has is its own choice.
ASSETS: dict[str, Codec] = {
    **{contract.name: TableCodec(contract) for contract in TABLES},
    "genotype_batch": FolderCodec(GenotypeBatches.open),
    "genotype_panel": FolderCodec(GenotypeTable.open),
    "evidently_report": FolderCodec(SeasonPages.load, circumstances=PAGE_FILES),
    "season_report": FolderCodec(SeasonPage.load),
}


def codec_of(asset: str) -> Codec:
    """How an asset is stored; a name that is no asset's is a recipe's, whose candidates lie under it."""
    return ASSETS.get(asset, CANDIDATE)
