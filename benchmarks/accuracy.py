"""Every recipe on every set and scheme, with baselines and paired intervals: measured, kept, and shown as tables.

    python benchmarks/accuracy.py DATA KEPT [--sets rice wheat htp nested] [--models NAME…] [--schemes LABEL…]
                                  [--replicates 5] [--minutes M] [--out docs/accuracy.md]

DATA holds a folder a set with genotypes.vcf.gz and phenotypes.csv: rice_japonica_uy, wheat_cimmyt599,
wheat_htp_obregon (the first two also in examples/). KEPT gets the predictions of each recipe on each set and scheme as
they are made, and a line in runs.jsonl; what is there is not made again, so that a stopped run goes on, and expensive
recipes can be added later or with fewer replicates. All recipes see the same folds. `accuracy_tables` shows KEPT;
--out puts its tables between the two marks of a Markdown file.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
from accuracy_tables import Kept, Shown, put_between_marks, tables

from genomic_platform.errors import GenomicPlatformError
from genomic_platform.genotypes.quality.qc import apply_qc, genotype_qc
from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.models.evaluate import predictions
from genomic_platform.models.recipes import RECIPES
from genomic_platform.phenotypes.line_means import line_means
from genomic_platform.phenotypes.trials import read_trials
from genomic_platform_tests.support.nested_association import NestedDesign, nested_panel

REFERENCE = {"means": "centred", "weights": "none"}
DEFAULT = {"means": "blue", "weights": "errors"}
Study = tuple[GenotypeTable, pl.DataFrame]


@dataclass(frozen=True)
class Case:
    """A scheme on a set: what is shown, and how it is asked for."""

    label: str
    study: Callable[[], Study]
    scheme: str
    by_unit: bool = False
    pooled: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def shown(self, set_name: str) -> Shown:
        return Shown(set_name, self.label, self.scheme, self.by_unit, self.pooled)


@cache
def _read(folder: Path, traits: tuple[str, ...], means: str, qc: bool = False) -> Study:
    genotypes, _ = read_genotypes([folder / "genotypes.vcf.gz"])
    records, _ = read_trials([folder / "phenotypes.csv"], list(traits))
    return apply_qc(genotypes, genotype_qc(genotypes)) if qc else genotypes, line_means(records, means=means)[0]


def rice(data: Path, replicates: int) -> Iterator[Case]:
    traits = ("grain_yield_kg_ha", "head_rice_recovery_frac", "chalky_grain_frac", "plant_height_cm")
    for name, mode in (("reference mode", REFERENCE), ("default mode", DEFAULT)):
        def study(mode: Mapping[str, str] = mode) -> Study:
            return _read(data / "rice_japonica_uy", traits, mode["means"], qc=mode is DEFAULT)
        own = mode | {"clones_share_fold": mode is DEFAULT, "replicates": replicates}
        for scheme in ("forward", "cv1", "cv0", "cv00") if mode is REFERENCE else ("forward", "cv1", "cv2"):
            yield Case(f"{scheme}, {name}", study, scheme, options=own)


def wheat(data: Path, replicates: int) -> Iterator[Case]:
    folder = data / "wheat_cimmyt599"
    folds = dict(pl.read_csv(folder / "folds10.csv", infer_schema=False).iter_rows())
    def study() -> Study:
        return _read(folder, ("grain_yield_std",), "centred")
    yield Case("cv1, published folds, pooled", study, "cv1", True, True,
               REFERENCE | {"folds": folds, "within_environment": True})
    yield from _environments(study, replicates)


def htp(data: Path, replicates: int) -> Iterator[Case]:
    folder = data / "wheat_htp_obregon"
    rows = pl.read_csv(folder / "phenotypes.csv", infer_schema=False).filter(pl.col("environment") == "E1")
    folds = dict(rows.select("line_id", "cv_fold").unique().iter_rows())
    def study() -> Study:
        return _read(folder, ("grain_yield_t_ha",), "centred")
    yield Case("cv1, whole trials", study, "cv1", True,
               options=REFERENCE | {"folds": folds, "within_environment": True})
    yield from _environments(study, replicates)


def _environments(study: Callable[[], Study], replicates: int) -> Iterator[Case]:
    own = REFERENCE | {"clones_share_fold": False, "replicates": replicates}
    yield Case("cv1, random folds", study, "cv1", True, options=own | {"within_environment": True})
    yield Case("cv2", study, "cv2", True, options=own)
    yield Case("environment", study, "environment", True, options=own)


def nested(data: Path, replicates: int) -> Iterator[Case]:
    """One generated panel of 1,000 lines: here families are known."""
    panel = nested_panel(NestedDesign(n_lines=1_000, n_markers=1_500))
    own = DEFAULT | {"families": panel.families, "parents": panel.parents, "replicates": replicates}
    for scheme in ("cv1", "cv2", "forward", "location", "family"):
        yield Case(scheme, lambda: (panel.genotypes, panel.line_means), scheme, options=own)


SETS: dict[str, tuple[str, Callable[[Path, int], Iterator[Case]]]] = {
    "rice": ("rice_japonica_uy", rice), "wheat": ("wheat_cimmyt599", wheat), "htp": ("wheat_htp_obregon", htp),
    "nested": ("generated nested-association panel, 40 families, 1,000 lines", nested)}


def measure(case: Case, shown: Shown, recipe: str, kept: Kept) -> None:
    """One recipe on one scheme of one set; a recipe that cannot be had there leaves its reason."""
    wall_s, cpu_s = time.monotonic(), time.process_time()
    try:
        found = predictions(*case.study(), recipes=[recipe], scheme=case.scheme, **case.options)
    except GenomicPlatformError as error:
        kept.add(shown, recipe, None, reason=str(error))
        print(f"{shown.set_name}, {case.label}, {recipe}: {error}", flush=True)
        return
    seconds = {"wall_seconds": time.monotonic() - wall_s, "processor_seconds": time.process_time() - cpu_s}
    kept.add(shown, recipe, found, **seconds)
    print(f"{shown.set_name}, {case.label}, {recipe}: {seconds['processor_seconds']:.0f} processor seconds", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("kept", type=Path)
    parser.add_argument("--sets", nargs="*", choices=SETS, default=list(SETS))
    parser.add_argument("--models", nargs="+", default=list(RECIPES))
    parser.add_argument("--schemes", nargs="+", help="labels of the tables to make, by their beginning")
    parser.add_argument("--replicates", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after this time")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    kept, began = Kept(options.kept), time.monotonic()
    for recipe in options.models:
        for set_name in options.sets:
            for case in SETS[set_name][1](options.data, options.replicates):
                shown = case.shown(set_name)
                wanted = not options.schemes or case.label.startswith(tuple(options.schemes))
                if wanted and not kept.has(shown, recipe) and time.monotonic() - began < 60 * options.minutes:
                    measure(case, shown, recipe, kept)
    made = tables(kept, {name: title for name, (title, _) in SETS.items()}, list(RECIPES))
    if options.out:
        put_between_marks(options.out, made)
    else:
        print(made)


if __name__ == "__main__":
    main()
