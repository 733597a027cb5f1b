"""Contracts of the phenotype tables: what was measured on which line, where and when."""

import polars as pl

from genomic_platform.schemas.contract import Column, TableContract

LINE_ID = Column("line_id", pl.String, "the line's one stable name, synonyms resolved")
TRAIT = Column("trait", pl.String, "trait id as in program.toml, unit there")
SEASON = Column("season", pl.String, "season label")
ENVIRONMENT = Column("environment", pl.String, "season × location (× management)")

TRIAL_RECORDS = TableContract(
    "trial_records",
    (
        LINE_ID, SEASON,
        Column("location", pl.String, "where"),
        ENVIRONMENT,
        Column("trial", pl.String, "trial within the environment", nullable=True),
        Column("replicate", pl.String, "declared replicate within the trial", nullable=True),
        Column("block", pl.String, "declared incomplete block within the replicate", nullable=True),
        Column("row", pl.Int64, "plot row in the field", nullable=True),
        Column("column", pl.Int64, "plot column in the field", nullable=True),
        Column("check", pl.Boolean, "the plot holds a check"),
        TRAIT,
        Column("value", pl.Float64, "measured value in the trait's unit"),
        Column("record", pl.Int64, "1-based row of the season's records in landing order; one plot, one record"),
    ),
    sort_key=("trait", "environment", "line_id", "record"),
)

LINE_RECORDS = TableContract(
    "line_records",
    (
        LINE_ID,
        Column("germplasm_id", pl.String, "id in the programme's germplasm database", nullable=True),
        Column("family", pl.String, "family or cross", nullable=True),
        Column("parent_1", pl.String, "line_id of one parent", nullable=True),
        Column("parent_2", pl.String, "line_id of the other parent", nullable=True),
        Column("inbreeding", pl.Float64, "coefficient of inbreeding", unit="0–1", nullable=True),
        Column("role", pl.String, "candidate | check | parent | tester"),
        Column("known_from", pl.String, "first season the line was known; empty = from the start", nullable=True),
    ),
    sort_key=("line_id",),
)

DAILY_WEATHER = TableContract(
    "daily_weather",
    (
        ENVIRONMENT, SEASON,
        Column("date", pl.Date, "the day"),
        Column("air_temperature_max_c", pl.Float64, "highest air temperature of the day at 2 m", unit="°C",
               nullable=True),
        Column("air_temperature_min_c", pl.Float64, "lowest air temperature of the day at 2 m", unit="°C",
               nullable=True),
        Column("air_temperature_mean_c", pl.Float64, "mean air temperature of the day at 2 m, as measured", unit="°C",
               nullable=True),
        Column("dew_point_c", pl.Float64, "mean dew point at 2 m", unit="°C", nullable=True),
        Column("relative_humidity_pct", pl.Float64, "mean relative humidity at 2 m", unit="%", nullable=True),
        Column("rain_mm", pl.Float64, "rain and melted snow of the day", unit="mm", nullable=True),
        Column("solar_radiation_mj_m2", pl.Float64, "solar radiation on a level surface", unit="MJ/m²", nullable=True),
    ),
    sort_key=("environment", "date"),
)

ENVIRONMENT_RECORDS = TableContract(
    "environment_records",
    (
        ENVIRONMENT, SEASON,
        Column("location", pl.String, "where"),
        Column("variable", pl.String, "name of the covariate as in the file, latitude, longitude, …, or "
                                      "window_feature made of daily weather"),
        Column("value", pl.Float64, "value in the file's unit, or the feature's"),
    ),
    sort_key=("environment", "variable"),
)

ENVIRONMENT_FEATURES = TableContract(
    "environment_features",
    (
        ENVIRONMENT, SEASON,
        Column("feature", pl.String, "covariate that varies between the environments known at the season"),
        Column("value", pl.Float64, "value in the file's unit"),
        Column("standardised", pl.Float64, "centred and scaled over all environments known at the season",
               unit="standard deviations"),
    ),
    sort_key=("environment", "feature"),
)

LINE_MEANS = TableContract(
    "line_means",
    (
        LINE_ID, SEASON,
        Column("location", pl.String, "where"),
        ENVIRONMENT, TRAIT,
        Column("mean", pl.Float64, "the line's mean in the environment (BLUE, or plain mean), trait's unit"),
        Column("centred", pl.Float64, "mean minus the environment's average over its lines, trait's unit"),
        Column("standard_error", pl.Float64, "of the mean; empty when nothing is left to estimate it from",
               nullable=True),
        Column("n_records", pl.Int64, "records the mean rests on"),
    ),
    sort_key=("trait", "environment", "line_id"),
)

TRAINING_SET = TableContract(
    "training_set",
    (
        LINE_ID, TRAIT,
        Column("mean", pl.Float64, "the line's mean over all environments known at the season, as a deviation "
                                   "from the average line, trait's unit"),
        Column("error_variance", pl.Float64, "variance of the mean from stage one, taken as known; empty = equal "
                                             "weights, error variance left to stage two", nullable=True),
        Column("error_loadings", pl.List(pl.Float64), "the part of the error that lines of the same environments "
               "share: two lines' errors covary by the sum of products of their loadings, whose squares are part of "
               "error_variance; empty with equal weights", nullable=True),
        Column("n_environments", pl.Int64, "environments the mean rests on"),
        Column("n_records", pl.Int64, "records the mean rests on"),
        Column("first_season", pl.String, "first season with a record of the trait"),
        Column("last_season", pl.String, "last season with a record of the trait"),
        Column("genotyped", pl.Boolean, "the line has genotypes known at the season"),
    ),
    sort_key=("trait", "line_id"),
)
