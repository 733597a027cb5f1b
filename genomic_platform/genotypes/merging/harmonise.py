"""Markers of one batch among those of a panel: which is which, and which allele its calls count.

Platforms name markers, order alleles and choose strands each in their own way. Here a batch's variants find their
markers and the direction of their calls; putting calls together belongs in `batches.py`, lines in `concordance.py`.
Axes: M variants, B bytes. Reference: Deelen et al. 2014 (Genotype Harmonizer), BMC Res. Notes 7:901.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from genomic_platform.genotypes.chromosomes import UNPLACED
from genomic_platform.genotypes.regions import chromosome_key
from genomic_platform.genotypes.table import GenotypeTable

Palindromic = Literal["frequency", "drop"]

#: Frequencies decide a site whose letters cannot where, on both sides, the rarer allele is at most so common among at
#: least so many lines, and the other direction would be a difference of so many standard errors (of inbred lines).
CLEAR_MINOR_FREQUENCY, CLEAR_LINES, CLEAR_ERRORS = 0.4, 20, 3.0
#: So many markers of unmistakable letters, none of them on the other strand: both sides read the same strand.
STRAND_MARKERS = 100
#: A batch of at least so many variants that all name the same two alleles (A/C, A/B, …) has placeholders.
PLACEHOLDER_VARIANTS = 20

_NO_ALLELE = (".", "0", "N", "")
_COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A"}
_OTHER_STRAND = {"G/T": "A/C", "C/T": "A/G"}
_PALINDROMES = ("A/T", "C/G")
_SNVS = ("A/C", "A/G", *_PALINDROMES)
_PLACE = ("chromosome_key", "position")
_MARKER = (*_PLACE, "alleles")
PANEL_SCHEMA = {"variant_id": pl.String, "chromosome": pl.String, "position": pl.Int64, "ref": pl.String,
                "alt": pl.String, "chromosome_key": pl.String, "first": pl.String, "second": pl.String,
                "alleles": pl.String, "calls": pl.Int64, "alt_alleles": pl.Float64}
NAMES_SCHEMA = {"variant_id": pl.String, "marker": pl.Int64}


def placeholders(table: GenotypeTable) -> frozenset[str] | None:
    """The two alleles that every variant names, as no real batch of this size does: its letters say nothing."""
    pairs = table.variants.select(pl.min_horizontal("ref", "alt"), pl.max_horizontal("ref", "alt").alias("other"))
    if table.n_variants < PLACEHOLDER_VARIANTS or pairs.n_unique() > 1:
        return None
    return frozenset(pairs.row(0))


def described(table: GenotypeTable, letters_alike: bool = False) -> pl.DataFrame:
    """Variants of a batch as they are matched (PANEL_SCHEMA), in table order.

    Placeholders count as unknown letters, unless all batches write the same two (`letters_alike`): then letters that
    are exchanged mean calls that are.
    `chromosome_key` is 1 for chr01 and Chr1, and null where a position says nothing; `first` and `second` are REF and
    ALT, null where unknown; `alleles` is the unordered pair as read on either strand, null unless both are known.
    """
    key = chromosome_key()
    unplaced = key.is_in(list(UNPLACED)) | (pl.col("position") <= 0)
    unknown = placeholders(table) is not None and not letters_alike
    letters = [pl.lit(None, pl.String) if unknown else _letter(name) for name in ("ref", "alt")]
    calls = (pl.col("call_rate") * table.n_lines).round().cast(pl.Int64)
    return table.variants.select(
        "variant_id", "chromosome", "position", "ref", "alt",
        pl.when(~unplaced).then(key).alias("chromosome_key"),
        letters[0].alias("first"), letters[1].alias("second"),
        calls.alias("calls"), (2 * calls * pl.col("alt_frequency").fill_null(0)).alias("alt_alleles"),
    ).with_columns(_alleles()).select(list(PANEL_SCHEMA))


def _letter(column: str) -> pl.Expr:
    letter = pl.col(column).str.to_uppercase()
    return pl.when(~letter.is_in(_NO_ALLELE)).then(letter)


def _alleles() -> pl.Expr:
    first, second = pl.col("first"), pl.col("second")
    ordered = pl.when(first <= second).then(pl.concat_str(first, second, separator="/")).otherwise(
        pl.concat_str(second, first, separator="/"))  # concat_str is null where either is
    return ordered.replace(_OTHER_STRAND).alias("alleles")


def match(batch: pl.DataFrame, panel: pl.DataFrame, names: pl.DataFrame, palindromic: Palindromic) -> pl.DataFrame:
    """Each variant of a batch with its marker in the panel, if there, and what becomes of its calls.

    A marker is found by chromosome, position and alleles (in either order, on either strand), then by id, then, where
    alleles are not all known, by position alone. Variants whose letters leave the counted allele open (palindromes,
    placeholders) are decided by allele frequency, or by their letters where STRAND_MARKERS show one strand.

    Parameters
    ----------
    batch, panel : PANEL_SCHEMA. A panel's row number is its marker.
    names : every id a marker has been known by (NAMES_SCHEMA).

    Returns
    -------
    The batch with `marker` (markers new to the panel are numbered after its own), `matched_by` (position | id; null
    when new), `swapped` (the calls count the panel's REF), `flipped` (read on the other strand), `undecidable`
    (palindrome | placeholder: letters leave it open), `dropped` (why the calls cannot be used; null: they can) and
    `calls_panel`, `alt_alleles_panel` of the marker so far.
    """
    pairs = _found(batch.with_row_index("row"), panel, names).join(
        _numbered(panel).select("marker", "calls", "alt_alleles", "first", "second", "alleles"),
        on="marker", how="left", suffix="_panel", maintain_order="left")
    matched = _one_each(_directed(pairs, palindromic))
    is_new = pl.col("marker").is_null() & pl.col("dropped").is_null()
    return matched.with_columns(
        pl.when(is_new).then(panel.height - 1 + is_new.cum_sum().cast(pl.Int64)).otherwise("marker").alias("marker"),
    ).select(*batch.columns, "marker", "matched_by", "swapped", "flipped", "undecidable", "dropped", "calls_panel",
             "alt_alleles_panel")


def _found(batch: pl.DataFrame, panel: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """The marker each variant points to, by what, and reasons that show already here."""
    placed = _numbered(panel).filter(pl.col("chromosome_key").is_not_null())
    by_marker = placed.filter(pl.col("alleles").is_not_null()).unique(_MARKER, keep="first", maintain_order=True)
    by_place = placed.group_by(_PLACE).agg(pl.col("marker").first().alias("here"), pl.len().alias("n_here"),
                                           pl.col("alleles").is_in(_SNVS).any().alias("snv_here"),
                                           pl.col("alleles").is_null().all().alias("open_here"))
    joined = (batch.join(by_marker.select(*_MARKER, by_position="marker"), on=_MARKER, how="left",
                         maintain_order="left")
              .join(names.rename({"marker": "by_id"}), on="variant_id", how="left", maintain_order="left")
              .join(by_place, on=_PLACE, how="left", maintain_order="left"))
    by_position, by_id = pl.col("by_position"), pl.col("by_id")
    alone = pl.when((pl.col("n_here") == 1) & (pl.len().over(_PLACE) == 1)).then("here")
    elsewhere = by_position.is_null() & by_id.is_null()
    # a single-base change where the panel has another one would be a third allele, which two bits cannot hold
    third = elsewhere & pl.col("snv_here") & (pl.col("alleles").is_in(_SNVS) | pl.col("alleles").is_null())
    partly = pl.col("alleles").is_null() | pl.col("open_here")
    marker = pl.coalesce(by_position, by_id, pl.when(partly).then(alone))
    return joined.with_columns(
        marker.alias("marker"),
        pl.when(by_position.is_null() & by_id.is_not_null()).then(pl.lit("id"))
        .when(marker.is_not_null()).then(pl.lit("position")).alias("matched_by"),
        pl.when(by_position != by_id).then(pl.lit("id_of_another_marker")).alias("dropped"),
        third.fill_null(False).alias("third"))


def _directed(pairs: pl.DataFrame, palindromic: Palindromic) -> pl.DataFrame:
    """Whether calls are swapped or on the other strand, and those that do not fit or cannot be told."""
    x, y = pl.col("first_panel"), pl.col("second_panel")
    a, b, a_, b_ = pl.col("first"), pl.col("second"), _complement("first"), _complement("second")
    fits = pairs.with_columns(
        same=_may_equal(a, x) & _may_equal(b, y), swap=_may_equal(a, y) & _may_equal(b, x),
        same_=_may_equal(a_, x) & _may_equal(b_, y), swap_=_may_equal(a_, y) & _may_equal(b_, x))
    keeps, swaps = pl.col("same") | pl.col("same_"), pl.col("swap") | pl.col("swap_")
    known = pl.col("alleles").is_not_null() & pl.col("alleles_panel").is_not_null()
    sure = fits.filter(pl.col("marker").is_not_null() & known & (keeps != swaps))
    one_strand = sure.height >= STRAND_MARKERS and not (sure["same_"] | sure["swap_"]).any()
    # with no letter on either side the coding is a platform's own, taken as given; without calls either way is right
    as_given = pl.all_horizontal(a.is_null(), b.is_null(), x.is_null(), y.is_null())
    no_calls = (pl.col("calls") == 0) | (pl.col("calls_panel") == 0)
    asked_to_drop = known if palindromic == "drop" else pl.lit(False)
    swapped = (pl.when(keeps != swaps).then(swaps).when(as_given | no_calls).then(False)
               .when(asked_to_drop).then(None).when(known & one_strand).then(~pl.col("same"))
               .otherwise(_swapped_by_frequency()))
    is_matched = pl.col("marker").is_not_null()
    return fits.with_columns(
        pl.when(is_matched & keeps & swaps & ~as_given).then(
            pl.when(known).then(pl.lit("palindrome")).otherwise(pl.lit("placeholder"))).alias("undecidable"),
        pl.when(is_matched & (keeps | swaps)).then(swapped).alias("swapped"),
    ).with_columns(
        pl.col("swapped").fill_null(False),
        pl.when(pl.col("swapped")).then(~pl.col("swap")).otherwise(~pl.col("same")).fill_null(False).alias("flipped"),
        pl.when(pl.col("dropped").is_not_null()).then("dropped")
        .when(is_matched & ~(keeps | swaps)).then(pl.lit("alleles_differ"))
        .when(~is_matched & pl.col("third")).then(pl.lit("alleles_differ"))
        .when(is_matched & pl.col("swapped").is_null()).then(pl.format("{}_undecided", "undecidable"))
        .alias("dropped"))


def _swapped_by_frequency() -> pl.Expr:
    """Whether the calls count the panel's REF, by which side of one half the frequencies are; null where not clear."""
    p, q = frequency(), frequency("_panel")
    swapped = (p < 0.5) != (q < 0.5)
    refused_gap = pl.when(swapped).then(p - q).otherwise(p + q - 1).abs()
    variance = p * (1 - p) / pl.col("calls") + q * (1 - q) / pl.col("calls_panel")
    clear = pl.all_horizontal(*(pl.min_horizontal(f, 1 - f) <= CLEAR_MINOR_FREQUENCY for f in (p, q)),
                              *(pl.col(c) >= CLEAR_LINES for c in ("calls", "calls_panel")),
                              refused_gap > CLEAR_ERRORS * variance.sqrt())
    return pl.when(clear).then(swapped)


def _one_each(directed: pl.DataFrame) -> pl.DataFrame:
    """One variant of a batch for a marker, the one called in most lines; others are dropped as repeats."""
    usable = pl.col("dropped").is_null()
    ranked = directed.sort(pl.col("calls"), descending=True, maintain_order=True)
    identity = pl.when(pl.col("marker").is_not_null()).then(pl.format("marker {}", "marker")).when(
        pl.all_horizontal(pl.col(c).is_not_null() for c in _MARKER)).then(
            pl.concat_str(*_MARKER, separator="\t")).otherwise(pl.format("row {}", "row"))
    kept = ranked.with_columns(identity.alias("identity")).with_columns(
        pl.struct("identity", usable).is_first_distinct().alias("is_first"))
    return kept.with_columns(pl.when(usable & ~pl.col("is_first")).then(pl.lit("repeats_another_variant"))
                             .otherwise("dropped").alias("dropped")).sort("row")


def extended(panel: pl.DataFrame, names: pl.DataFrame, matched: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The panel and its names with a matched batch: counts added, unknown letters and places filled, new ones last."""
    kept = matched.filter(pl.col("dropped").is_null())
    old = kept.filter(pl.col("marker") < panel.height)
    ref, alt = (pl.when(pl.col("swapped")).then(other).otherwise(own) for own, other in
                (("first", "second"), ("second", "first")))
    told = old.with_columns(ref.alias("first"), alt.alias("second")).with_columns(
        pl.when(pl.col("flipped")).then(_complement(c)).otherwise(c).alias(c) for c in ("first", "second")).select(
        "marker", "chromosome", "position", "chromosome_key", "first", "second", "calls",
        pl.when(pl.col("swapped")).then(2 * pl.col("calls") - pl.col("alt_alleles")).otherwise("alt_alleles")
        .alias("alt_alleles"))
    joined = _numbered(panel).join(told, on="marker", how="left", suffix="_told", maintain_order="left")
    moves = pl.col("chromosome_key").is_null() & pl.col("chromosome_key_told").is_not_null()
    grown = joined.with_columns(
        *(pl.when(moves).then(f"{c}_told").otherwise(c).alias(c) for c in ("chromosome", "position", "chromosome_key")),
        *(pl.coalesce(c, f"{c}_told").alias(c) for c in ("first", "second")),
        *(pl.when(pl.col(shown).is_in(_NO_ALLELE)).then(pl.coalesce(f"{c}_told", shown)).otherwise(shown).alias(shown)
          for shown, c in (("ref", "first"), ("alt", "second"))),
        *(pl.col(c) + pl.col(f"{c}_told").fill_null(0) for c in ("calls", "alt_alleles")),
    ).with_columns(_alleles()).select(list(PANEL_SCHEMA))
    new = kept.filter(pl.col("marker") >= panel.height).sort("marker").select(list(PANEL_SCHEMA))
    all_names = pl.concat([names, kept.select(list(NAMES_SCHEMA))]).unique("variant_id", keep="first",
                                                                           maintain_order=True)
    return pl.concat([grown, new]), all_names


def _numbered(panel: pl.DataFrame) -> pl.DataFrame:
    return panel.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("marker"))


def _complement(column: str) -> pl.Expr:
    """The letter on the other strand; what is no single base fits nothing there."""
    letter = pl.col(column)
    return pl.when(letter.is_not_null()).then(letter.replace_strict(_COMPLEMENT, default="?", return_dtype=pl.String))


def _may_equal(left: pl.Expr, right: pl.Expr) -> pl.Expr:
    return (left == right) | left.is_null() | right.is_null()


def frequency(suffix: str = "") -> pl.Expr:
    """ALT frequency from `calls` and `alt_alleles`; null without a call."""
    calls = pl.col(f"calls{suffix}")
    return pl.when(calls > 0).then(pl.col(f"alt_alleles{suffix}") / (2 * calls))
