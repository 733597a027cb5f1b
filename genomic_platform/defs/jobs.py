"""Jobs: `train_season` runs every asset and check of one season, from landing files to release."""

import dagster as dg

train_season = dg.define_asset_job(
    "train_season",
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups("landing"),
    description="One season, whole: landing files to published ranking. The target of sensors and backfills.",
)

