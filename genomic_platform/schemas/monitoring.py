"""Contracts of what is watched: inputs, lines, predictions, promises, what retraining brought, and what it all cost.

The shift of the genotyped population is DRIFT_REPORT in `predictions.py`.
"""

import polars as pl

from genomic_platform.schemas.contract import Column, TableContract
from genomic_platform.schemas.phenotypes import LINE_ID, SEASON, TRAIT

INPUT_DRIFT = TableContract(
    "input_drift",
    (
        SEASON,
        Column("feature", pl.String, "environment feature, as environment_features names it"),
        Column("decision", pl.String, "no_test | too_few | same | shifted"),
        Column("n_new", pl.Int64, "environments of this season that have the feature"),
        Column("n_reference", pl.Int64, "environments of earlier seasons that have it"),
        Column("mean_new", pl.Float64, "mean over this season's environments, feature's unit", nullable=True),
        Column("mean_reference", pl.Float64, "mean over earlier environments, feature's unit", nullable=True),
        Column("effect", pl.Float64, "standardised difference of the means (Hedges' g)",
               unit="standard deviations", nullable=True),
        Column("p_value", pl.Float64, "of the difference: environments permuted, and no smaller than that of one more "
                                      "season among seasons that differ as the earlier ones do", nullable=True),
        Column("p_adjusted", pl.Float64, "corrected for the number of features tested (Benjamini–Hochberg)",
               nullable=True),
        Column("n_outside", pl.Int64, "of this season's environments, those outside the range of all earlier ones"),
        Column("message", pl.String, "the decision in words"),
    ),
    sort_key=("season", "feature"),
)

POPULATION_SHIFT = TableContract(
    "population_shift",
    (
        SEASON,
        Column("part", pl.String, "chromosome | component (principal component of the relationship)"),
        Column("name", pl.String, "which chromosome, or the component's number"),
        Column("shift", pl.Float64, "F_ST of the chromosome; of a component the difference of the means in standard "
                                    "deviations of the reference lines", nullable=True),
        Column("n_markers", pl.Int64, "markers of the chromosome; empty for a component", nullable=True),
        Column("p_value", pl.Float64, "permuting families or relationship clusters", nullable=True),
    ),
    sort_key=("season", "part", "name"),
)

LINE_TRUST = TableContract(
    "line_trust",
    (
        LINE_ID,
        Column("phenotyped", pl.Boolean, "the line has a record in the training set"),
        Column("closest_relative", pl.String, "the training line most related to it, itself excepted", nullable=True),
        Column("closest_relationship", pl.Float64, "correlation of breeding values with that line", nullable=True),
        Column("mean_relationship", pl.Float64, "mean correlation with all training lines, itself excepted",
               nullable=True),
        Column("reliability", pl.Float64, "mean over traits of the reliability of its value", unit="0–1",
               nullable=True),
        Column("trust", pl.String, "usual | less"),
        Column("why", pl.String, "why its value is to be trusted less, in words; empty when it is not", nullable=True),
    ),
    sort_key=("line_id",),
)

PREDICTION_DRIFT = TableContract(
    "prediction_drift",
    (
        SEASON, TRAIT,
        Column("decision", pl.String, "first | usual | changed"),
        Column("n_lines", pl.Int64, "lines with a value"),
        Column("mean", pl.Float64, "mean genotypic value, trait's unit", nullable=True),
        Column("sd", pl.Float64, "standard deviation of the genotypic values, trait's unit", nullable=True),
        Column("shrinkage", pl.Float64, "share of the standard deviation of true genotypic values that the values do "
                                        "not show: 1 − sd / σ", nullable=True),
        Column("reliability", pl.Float64, "mean reliability of the genotypic value", unit="0–1", nullable=True),
        Column("extrapolated", pl.Float64, "share of the lines without a record and without a close relative among "
                                           "training lines", unit="0–1", nullable=True),
        Column("r_previous", pl.Float64, "correlation with the values published a season before, lines in both",
               nullable=True),
        Column("sd_ratio", pl.Float64, "standard deviation relative to the season before, lines in both",
               nullable=True),
        Column("message", pl.String, "the decision in words"),
    ),
    sort_key=("season", "trait"),
)

ACCURACY_PROMISE = TableContract(
    "accuracy_promise",
    (
        SEASON, TRAIT,
        Column("level", pl.String, "season | environment | family"),
        Column("label", pl.String, "which environment or family; empty for the season"),
        Column("verdict", pl.String, "no_promise | too_few | within | below | above"),
        Column("n_lines", pl.Int64, "lines harvested and predicted"),
        Column("realised", pl.Float64, "predictive ability on this harvest", nullable=True),
        Column("promised", pl.Float64, "what earlier forward seasons promised for it", nullable=True),
        Column("lower", pl.Float64, "lower end of the promised 95 % interval", nullable=True),
        Column("upper", pl.Float64, "upper end of the promised 95 % interval", nullable=True),
        Column("n_seasons", pl.Int64, "forward seasons that the promise rests on"),
        Column("slope", pl.Float64, "slope of observed on predicted; 1 = calibrated", nullable=True),
        Column("bias", pl.Float64, "mean of predicted minus observed, trait's unit", nullable=True),
        Column("top20_hit", pl.Float64, "share of the observed best fifth among the predicted best fifth", unit="0–1",
               nullable=True),
        Column("gain_selected", pl.Float64, "observed mean of the predicted best fifth minus that of all lines, in the "
                                            "trait's direction, trait's unit", nullable=True),
        Column("message", pl.String, "the verdict in words"),
    ),
    sort_key=("season", "trait", "level", "label"),
)

RETRAINING_EFFECT = TableContract(
    "retraining_effect",
    (
        SEASON, TRAIT,
        Column("cause", pl.String, "what had the later model trained: season | drift | accuracy | "
                                    "before_planting | after_harvest | hand"),
        Column("recipe_before", pl.String, "recipe of the model that was not retrained"),
        Column("trained_before", pl.String, "last season it saw"),
        Column("recipe_after", pl.String, "recipe of the retrained model"),
        Column("trained_after", pl.String, "last season it saw"),
        Column("r_before", pl.Float64, "predictive ability of the model not retrained, on this harvest",
               nullable=True),
        Column("r_after", pl.Float64, "predictive ability of the retrained model, same lines and environments",
               nullable=True),
        Column("difference", pl.Float64, "after minus before", nullable=True),
        Column("lower", pl.Float64, "lower end of its 95 % interval, families resampled", nullable=True),
        Column("upper", pl.Float64, "upper end of its 95 % interval, families resampled", nullable=True),
        Column("n_lines", pl.Int64, "lines harvested that both predicted"),
        Column("helped", pl.String, "yes | no | cannot tell"),
    ),
    sort_key=("season", "trait"),
)

COST_LEDGER = TableContract(
    "cost_ledger",
    (
        Column("time", pl.Datetime("us", "UTC"), "when the work ended"),
        Column("run_id", pl.String, "Dagster run"),
        Column("program", pl.String, "programme"),
        SEASON,
        Column("asset", pl.String, "asset that the step made"),
        Column("kind", pl.String, "data | training | evaluation | prediction | monitoring | release"),
        Column("fingerprint", pl.String, "digest of all that the result depends on; empty when the step failed "
                                         "before it was known"),
        Column("reused", pl.Boolean, "content made before was taken over, nothing was computed"),
        Column("repeated", pl.Boolean, "computed again, unasked, what the programme had computed from equal inputs"),
        Column("forced", pl.Boolean, "computed because a person asked for everything anew (`run --force`)"),
        Column("failed", pl.Boolean, "the step ended with an error"),
        Column("wall_s", pl.Float64, "wall time of the step", unit="s"),
        Column("cpu_s", pl.Float64, "processor time of the step, all threads", unit="s"),
        Column("gpu_s", pl.Float64, "wall time during which a graphics card was leased, times cards", unit="s"),
        Column("gpu_busy_s", pl.Float64, "of it, time the cards were at work; empty where the driver does not tell",
               unit="s", nullable=True),
        Column("device", pl.String, "cards, by id; empty without one"),
        Column("peak_memory_bytes", pl.Int64, "peak memory of the process during the step", unit="bytes",
               nullable=True),
        Column("bytes_written", pl.Int64, "bytes that the step added to the store", unit="bytes"),
    ),
    sort_key=("time", "run_id", "asset"),
)
