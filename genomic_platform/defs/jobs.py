"""Jobs over every asset and check of one season, from landing files to release; they differ in how steps are run.
And the job and schedule that keep the books of costs.

Which of them sensors start, and whose executor backfills take, is the setting `season_job`.
"""

import dagster as dg

from genomic_platform.executors.cuda import cuda_executor

_BOOKS = dg.AssetSelection.groups("costs")
#: Costs are of no season, and a job cannot mix partitioned assets with others.
_SEASON = dg.AssetSelection.all() - dg.AssetSelection.groups("landing") - _BOOKS

train_season = dg.define_asset_job(
    "train_season", selection=_SEASON, executor_def=dg.in_process_executor,
    description="One season, whole: landing files to published ranking. All steps in one process, on the CPU.",
)
train_season_gpu = dg.define_asset_job(
    "train_season_gpu", selection=_SEASON, executor_def=cuda_executor,
    description="The same season with each step in a process of its own; steps that ask for a graphics card lease one.",
)
keep_books = dg.define_asset_job(
    "keep_books", selection=_BOOKS, executor_def=dg.in_process_executor,
    description="The cost ledger's monthly totals, bands and budgets of every programme.",
)
#: Once a day, after midnight in the time zone of the ledger's months.
books_schedule = dg.ScheduleDefinition(
    name="keep_books_daily", job=keep_books, cron_schedule="10 0 * * *", execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING)
