"""Jobs over every asset and check of one season, from landing files to release; they differ in how steps are run.

Which of them sensors start, and whose executor backfills take, is the setting `season_job`.
"""

import dagster as dg

from genomic_platform.executors.cuda import cuda_executor

_SEASON = dg.AssetSelection.all() - dg.AssetSelection.groups("landing")

train_season = dg.define_asset_job(
    "train_season", selection=_SEASON, executor_def=dg.in_process_executor,
    description="One season, whole: landing files to published ranking. All steps in one process, on the CPU.",
)
train_season_gpu = dg.define_asset_job(
    "train_season_gpu", selection=_SEASON, executor_def=cuda_executor,
    description="The same season with each step in a process of its own; steps that ask for a graphics card lease one.",
)
