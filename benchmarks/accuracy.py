"""Every recipe on every set and scheme, with baselines and paired intervals, as a Markdown table.

    python benchmarks/accuracy.py DATA [--sets rice wheat htp nested] [--models NAME…] [--replicates 5] [--out FILE.md]

DATA holds a folder a set with genotypes.vcf.gz and phenotypes.csv: rice_japonica_uy, wheat_cimmyt599,
wheat_htp_obregon (the first two also in examples/). All recipes of a row are fitted on the same folds. A cell holds r
(averaged over what was left out), `!` where a baseline did better on the lines it has, after `/` r within families, and
in brackets the difference to the first recipe with its 95 % interval (`models.paired`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from genomic_platform.genotypes.quality.qc import apply_qc, genotype_qc
from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.ability import BY_UNIT, summarise
from genomic_platform.models.evaluate import predictions
from genomic_platform.models.paired import compare_models
from genomic_platform.models.recipes import RECIPES
from genomic_platform.phenotypes.line_means import line_means
from genomic_platform.phenotypes.trials import read_trials
from genomic_platform_tests.support.nested_association import NestedDesign, nested_panel

REFERENCE = {"means": "centred", "weights": "none"}
DEFAULT = {"means": "blue", "weights": "errors"}


@dataclass(frozen=True)
class Case:
    """A scheme on a set: what is shown, and how it is asked for."""

    label: str
    genotypes: GenotypeTable
    line_means: pl.DataFrame
    scheme: str
    by_unit: bool = False
    pooled: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


def _read(folder: Path, traits: list[str], means: str, qc: bool) -> tuple[GenotypeTable, pl.DataFrame]:
    genotypes, _ = read_genotypes([folder / "genotypes.vcf.gz"])
    records, _ = read_trials([folder / "phenotypes.csv"], traits)
    return apply_qc(genotypes, genotype_qc(genotypes)) if qc else genotypes, line_means(records, means=means)[0]


def rice(data: Path, replicates: int) -> Iterator[Case]:
    traits = ["grain_yield_kg_ha", "head_rice_recovery_frac", "chalky_grain_frac", "plant_height_cm"]
    for name, mode in (("reference mode", REFERENCE), ("default mode", DEFAULT)):
        study = _read(data / "rice_japonica_uy", traits, mode["means"], qc=mode is DEFAULT)
        own = mode | {"clones_share_fold": mode is DEFAULT}
        for scheme in ("cv1", "cv0", "cv00", "forward") if mode is REFERENCE else ("cv1", "cv2", "forward"):
            yield Case(f"{scheme}, {name}", *study, scheme, options=own | {"replicates": replicates})


def wheat(data: Path, replicates: int) -> Iterator[Case]:
    folder = data / "wheat_cimmyt599"
    study = _read(folder, ["grain_yield_std"], "centred", qc=False)
    folds = dict(pl.read_csv(folder / "folds10.csv", infer_schema=False).iter_rows())
    yield Case("cv1, published folds, pooled", *study, "cv1", True, True,
               REFERENCE | {"folds": folds, "within_environment": True})
    yield from _environments(study, replicates)


def htp(data: Path, replicates: int) -> Iterator[Case]:
    folder = data / "wheat_htp_obregon"
    study = _read(folder, ["grain_yield_t_ha"], "centred", qc=False)
    rows = pl.read_csv(folder / "phenotypes.csv", infer_schema=False).filter(pl.col("environment") == "E1")
    folds = dict(rows.select("line_id", "cv_fold").unique().iter_rows())
    yield Case("cv1, whole trials", *study, "cv1", True,
               options=REFERENCE | {"folds": folds, "within_environment": True})
    yield from _environments(study, replicates)


def _environments(study: tuple[GenotypeTable, pl.DataFrame], replicates: int) -> Iterator[Case]:
    own = REFERENCE | {"clones_share_fold": False, "replicates": replicates}
    yield Case("cv1, random folds", *study, "cv1", True, options=own | {"within_environment": True})
    yield Case("cv2", *study, "cv2", True, options=own)
    yield Case("environment", *study, "environment", True, options=own)


def nested(data: Path, replicates: int) -> Iterator[Case]:
    """One generated panel of 1,000 lines: here families are known."""
    panel = nested_panel(NestedDesign(n_lines=1_000, n_markers=1_500))
    own = DEFAULT | {"families": panel.families, "parents": panel.parents, "replicates": replicates}
    for scheme in ("cv1", "cv2", "forward", "location", "family"):
        yield Case(scheme, panel.genotypes, panel.line_means, scheme, options=own)


SETS: dict[str, tuple[str, Callable[[Path, int], Iterator[Case]]]] = {
    "rice": ("rice_japonica_uy", rice), "wheat": ("wheat_cimmyt599", wheat), "htp": ("wheat_htp_obregon", htp),
    "nested": ("generated nested-association panel, 40 families, 1,000 lines", nested)}


def case_rows(case: Case, models: Sequence[str]) -> Iterator[list[str]]:
    """One row a trait, and an environment where these are shown."""
    found = predictions(case.genotypes, case.line_means, recipes=models, scheme=case.scheme, **case.options)
    labels = sorted(set(found["unit" if case.scheme != "cv2" else "environment"].drop_nulls())) if case.by_unit else []
    for trait in sorted(set(found["trait"])):
        for label in labels or [None]:
            part = found.filter(pl.col("trait") == trait)
            if label is not None:
                part = part.filter(pl.col("unit" if case.scheme != "cv2" else "environment") == label)
            scores = summarise(part, pooled=case.pooled)
            if label is None and case.scheme not in BY_UNIT:
                scores = scores.filter(pl.col("environment").is_null())
            yield [case.label, trait + (f", {label}" if label else ""), *_cells(part, scores, models, case.pooled)]


def _cells(part: pl.DataFrame, scores: pl.DataFrame, models: Sequence[str], pooled: bool) -> list[str]:
    cells, lowest = [], scores.filter(pl.col("model") == models[0])
    for model in models:
        own = scores.filter(pl.col("model") == model)
        cell = _number(own["r_mean"].mean())  # pyright: ignore[reportArgumentType]
        # In half or more of the units a baseline did better on the lines it has.
        cell += "!" * (2 * own["loses_to"].list.len().gt(0).sum() >= own.height)
        if own["r_within_family"].null_count() < own.height:
            cell += f" / {_number(own['r_within_family'].mean())}"  # pyright: ignore[reportArgumentType]
        if model != models[0]:
            pair = compare_models(part, models[0], model, pooled=pooled, metrics=("r",)).row(0, named=True)
            cell += f" ({pair['difference']:+.3f}: {pair['lower']:+.3f} to {pair['upper']:+.3f})"
        cells.append(cell)
    return [*cells, *(_number(lowest[f"baseline_{b}"].mean())  # pyright: ignore[reportArgumentType]
                      for b in ("own_mean", "family_mean"))]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".replace("0.", ".", 1)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--models", nargs="+", default=list(RECIPES))
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    lines: list[str] = []
    for name in options.sets:
        title, cases = SETS[name]
        head = ["scheme", "trait", *options.models, "own earlier mean", "family mean"]
        lines += [f"## {title}", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
        for case in cases(options.data, options.replicates):
            began = time.monotonic()
            lines += [f"| {' | '.join(row)} |" for row in case_rows(case, options.models)]
            print(f"{title}, {case.label}: {time.monotonic() - began:.0f} s", flush=True)
            if options.out:
                options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
        lines.append("")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
