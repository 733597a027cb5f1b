"""Whether a reliability keeps its word: squared errors of predictions against the variance they were promised.

A prediction of a line's mean errs with variance (1 − reliability) · V_g + σ²e, V_g the variance of the genotypic
values and σ²e the error variance of the mean it is held against. Axes: N lines.
Reference: Henderson 1975, Biometrics 31:423-447 (prediction error variance).
"""

from __future__ import annotations

import polars as pl

from genomic_platform.models.scores import MIN_LINES, slope

#: Half width of a 90 % interval in standard deviations.
WIDTH_90 = 1.6448536269514722
BIN_LINES = 20


def calibration(lines: pl.DataFrame) -> dict[str, float | None]:
    """Scores of the promised variances.

    Parameters
    ----------
    lines : predicted, observed, predictive_variance (null = not known).

    Returns
    -------
    coverage_90 : share of lines within the 90 % interval (0–1; .9 is honest); of each fold's deviations from its mean.
    calibration_slope : of squared errors on promised variances; 1 = lines promised more err less by as much.
    squared_error_ratio : mean squared error over mean promised variance; above 1 = promises are too good.
    """
    names = ("coverage_90", "calibration_slope", "squared_error_ratio")
    known = lines.drop_nulls("predictive_variance")
    promised_N = known["predictive_variance"].to_numpy()
    if len(promised_N) < MIN_LINES or promised_N.min() <= 0:
        return dict.fromkeys(names)
    error_N = (known["predicted"] - known["observed"]).to_numpy()
    squared_N = (error_N - error_N.mean()) ** 2 * len(error_N) / (len(error_N) - 1)
    inside_N = squared_N <= WIDTH_90**2 * promised_N
    return {"coverage_90": float(inside_N.mean()), "calibration_slope": slope(promised_N, squared_N),
            "squared_error_ratio": float(squared_N.mean() / promised_N.mean())}


def calibration_bins(lines: pl.DataFrame, bins: int = 5) -> pl.DataFrame:
    """Lines in bins of equal size by reliability: what was promised and what came.

    Parameters
    ----------
    lines : predicted, observed, reliability, predictive_variance; rows without them are left out.

    Returns
    -------
    reliability (mean of the bin), promised (mean variance), squared_error (mean), coverage_90, n_lines. Fewer bins
    than asked for where they would hold fewer than twenty lines.
    """
    known = lines.drop_nulls(["predictive_variance", "reliability"])
    n_bins = max(1, min(bins, known.height // BIN_LINES))
    square = (pl.col("predicted") - pl.col("observed")) ** 2
    return known.with_columns(
        bin=(pl.col("reliability").rank("ordinal") - 1) * n_bins // max(known.height, 1), square=square).group_by(
        "bin", maintain_order=True).agg(
        pl.col("reliability").mean(), promised=pl.col("predictive_variance").mean(),
        squared_error=pl.col("square").mean(),
        coverage_90=(pl.col("square") <= WIDTH_90**2 * pl.col("predictive_variance")).mean(),
        n_lines=pl.len()).sort("bin").drop("bin")
