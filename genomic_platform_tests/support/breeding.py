"""A generated breeding programme with known truth: founders, families, selection, trials, and its landing files.

Additive effects are drawn for every marker from one normal distribution, so that given the genotypes the additive
values are N(0, σ²_a · K) with K of VanRaden (2008), method 1; selection acts on phenotypes alone and is ignorable
given all data. N lines, M markers, T traits, E environments.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

TRAITS = ("grain_yield_t_ha", "plant_height_cm", "head_rice_percent", "heading_date_days", "grain_protein_percent",
          "lodging_score", "thousand_grain_mass_g")
MORGANS_PER_CHROMOSOME = 1.0


@dataclass(frozen=True)
class Programme:
    """Size and variances of a programme; variances in squared trait units, the same for every trait.

    `sigma2_a` is the additive variance in the founders (VanRaden base); `error_variances` the lowest and highest plot
    error variance, spread evenly over environments; `advanced` best lines by phenotype that return the next season.
    """

    n_lines: int = 120
    n_families: int = 9
    n_founders: int = 12
    n_seasons: int = 3
    n_locations: int = 2
    n_traits: int = 2
    n_markers: int = 300
    n_chromosomes: int = 5
    n_checks: int = 2
    replicates: int = 2
    block_size: int = 10
    advanced: int = 20
    selfings: int = 4
    sigma2_a: float = 1.0
    sigma2_residual: float = 0.3
    sigma2_ge: float = 0.3
    error_variances: tuple[float, float] = (0.5, 2.0)
    sigma2_block: float = 0.3
    missing_cells: float = 0.02
    first_season: int = 2019

    @classmethod
    def large(cls) -> Programme:
        """5,500 lines in 40 families × 4,300 markers × 7 traits, about 60,000 plots in 12 environments of 3 seasons."""
        return cls(n_lines=5500, n_families=40, n_founders=30, n_locations=4, n_traits=7, n_markers=4300,
                   n_chromosomes=12, block_size=25, advanced=750)


@dataclass
class _Lines:
    """The lines made so far; haplotypes_N2M hold 0 or 1 (ALT)."""

    ids: list[str] = field(default_factory=list)
    family: list[str | None] = field(default_factory=list)
    parents: list[tuple[str | None, str | None]] = field(default_factory=list)
    known_from: list[str | None] = field(default_factory=list)
    haplotypes_N2M: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 0), dtype=np.int8))

    def add(self, ids: list[str], family: str | None, parents: tuple[str | None, str | None], season: str | None,
            haplotypes_N2M: np.ndarray) -> None:
        self.ids += ids
        self.family += [family] * len(ids)
        self.parents += [parents] * len(ids)
        self.known_from += [season] * len(ids)
        self.haplotypes_N2M = haplotypes_N2M if self.haplotypes_N2M.shape[2] == 0 else \
            np.concatenate([self.haplotypes_N2M, haplotypes_N2M])


@dataclass(frozen=True)
class Truth:
    """What the trials were made from.

    Attributes
    ----------
    lines : ids (N), genotyped or not; dosage_NM their ALT dosages; genotyped_N which are in the VCF.
    additive_NT, residual_NT : additive values (not centred) and line residuals.
    effect_variance : variance of a marker's effect.
    sigma2_a : effect_variance × 2 Σ p (1 − p), p from the genotyped lines: σ²_a for VanRaden's K of these lines.
    sigma2_residual, sigma2_ge : line residual and genotype × environment.
    environments : labels (E); seasons_E theirs; error_variance_E plot error variances; effect_ET their means.
    interaction_NET : genotype × environment.
    ungenotyped, synonym : the line without genotypes; (other name, line id).
    """

    traits: tuple[str, ...]
    lines: tuple[str, ...]
    families: tuple[str | None, ...]
    dosage_NM: np.ndarray
    genotyped_N: np.ndarray
    effects_MT: np.ndarray
    additive_NT: np.ndarray
    residual_NT: np.ndarray
    effect_variance: float
    sigma2_a: float
    sigma2_residual: float
    sigma2_ge: float
    environments: tuple[str, ...]
    seasons_E: tuple[str, ...]
    error_variance_E: np.ndarray
    effect_ET: np.ndarray
    interaction_NET: np.ndarray
    ungenotyped: str
    synonym: tuple[str, str]

    @property
    def genotypic_NT(self) -> np.ndarray:
        return self.additive_NT + self.residual_NT


@dataclass(frozen=True)
class Simulated:
    """A programme as it happened: the truth and the landing tables."""

    truth: Truth
    trials: pl.DataFrame
    lines: pl.DataFrame
    environments: pl.DataFrame
    variants: pl.DataFrame


@dataclass(frozen=True)
class Landing:
    """Paths of the landing files of a simulated programme."""

    trials: Path
    lines: Path
    environments: Path
    genotypes: Path


@dataclass
class _World:
    """Everything drawn before the first season."""

    programme: Programme
    rng: np.random.Generator
    variants: pl.DataFrame
    switch_M: np.ndarray
    effects_MT: np.ndarray
    effect_variance: float
    lines: _Lines
    residual_NT: np.ndarray
    error_variance_E: np.ndarray
    effect_ET: np.ndarray
    interaction_NET: np.ndarray


def simulate(programme: Programme = Programme(), seed: int = 0) -> Simulated:
    """Run the programme season by season: cross, self, grow, select on the first trait's phenotype, cross again."""
    world = _found(programme, np.random.default_rng(seed))
    trials: list[pl.DataFrame] = []
    grown = np.zeros(0, dtype=np.int64)
    parents = np.arange(programme.n_founders)
    families = np.array_split(np.arange(programme.n_families), programme.n_seasons)
    sizes = [len(x) for x in np.array_split(np.arange(programme.n_lines), programme.n_families)]
    for s in range(programme.n_seasons):
        season = str(programme.first_season + s)
        entering = [_cross(world, int(f), sizes[int(f)], parents, season) for f in families[s]]
        grown = np.concatenate([grown, *entering])
        trials += [_trial(world, s, k, grown) for k in range(programme.n_locations)]
        best = _best(trials[-programme.n_locations:], world.lines.ids)
        grown = best[: programme.advanced]
        parents = best[: max(4, programme.advanced // 4)]
    return _finish(world, pl.concat(trials))


def write_landing(simulated: Simulated, folder: Path) -> Landing:
    """Write trials.csv, lines.csv, environments.csv and genotypes.vcf; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    landing = Landing(*(folder / f for f in ("trials.csv", "lines.csv", "environments.csv", "genotypes.vcf")))
    simulated.trials.write_csv(landing.trials)
    simulated.lines.write_csv(landing.lines)
    simulated.environments.write_csv(landing.environments)
    _write_vcf(simulated, landing.genotypes)
    return landing


def _found(programme: Programme, rng: np.random.Generator) -> _World:
    m, t = programme.n_markers, programme.n_traits
    chromosome = np.sort(np.arange(m) % programme.n_chromosomes)
    position = np.concatenate([1 + np.sort(rng.choice(10**8, (chromosome == c).sum(), replace=False))
                               for c in range(programme.n_chromosomes)])
    distance = np.diff(position, prepend=0) / 1e8 * MORGANS_PER_CHROMOSOME
    switch_M = np.where(np.diff(chromosome, prepend=-1) != 0, 0.5, 0.5 * (1 - np.exp(-2 * np.abs(distance))))  # Haldane
    founder_NM = (rng.random((programme.n_founders, m)) < rng.beta(1.5, 1.5, m)).astype(np.int8)
    p_M = founder_NM.mean(axis=0)
    effect_variance = programme.sigma2_a / float(2 * (p_M * (1 - p_M)).sum())
    variants = pl.DataFrame({"variant_id": [f"m{i + 1:05d}" for i in range(m)], "position": position,
                             "chromosome": [str(c + 1) for c in chromosome], "ref": ["A"] * m, "alt": ["G"] * m})
    lines = _Lines()
    lines.add([f"P{i + 1:02d}" for i in range(programme.n_founders)], None, (None, None), None,
              np.repeat(founder_NM[:, None, :], 2, axis=1))
    n, e = programme.n_founders + programme.n_lines, programme.n_seasons * programme.n_locations
    return _World(
        programme, rng, variants, switch_M, rng.normal(0, effect_variance**0.5, (m, t)), effect_variance, lines,
        rng.normal(0, programme.sigma2_residual**0.5, (n, t)), np.linspace(*programme.error_variances, e),
        50 + 3 * rng.standard_normal((e, t)), rng.normal(0, programme.sigma2_ge**0.5, (n, e, t)))


def _cross(world: _World, family: int, size: int, parents: np.ndarray, season: str) -> np.ndarray:
    """A family of selfed lines from one cross; gives the new lines' indices."""
    mother, father = world.rng.choice(parents, 2, replace=False)
    pair = world.lines.haplotypes_N2M[[mother, father]]
    haplotypes_N2M = np.stack([_gametes(np.repeat(pair[k:k + 1], size, axis=0), world) for k in (0, 1)], axis=1)
    for _ in range(world.programme.selfings):
        haplotypes_N2M = np.stack([_gametes(haplotypes_N2M, world), _gametes(haplotypes_N2M, world)], axis=1)
    start, ids = len(world.lines.ids), world.lines.ids
    world.lines.add([f"L{start + i - world.programme.n_founders + 1:04d}" for i in range(size)], f"F{family + 1:02d}",
                    (ids[mother], ids[father]), season, haplotypes_N2M)
    return np.arange(start, start + size)


def _gametes(haplotypes_N2M: np.ndarray, world: _World) -> np.ndarray:
    """One gamete (N, M) of each individual: crossovers without interference."""
    switched_NM = world.rng.random((haplotypes_N2M.shape[0], world.switch_M.size)) < world.switch_M
    second_NM = np.cumsum(switched_NM, axis=1) % 2 == 1
    return np.where(second_NM, haplotypes_N2M[:, 1], haplotypes_N2M[:, 0])


def _genotypic(world: _World) -> np.ndarray:
    dosage_NM = world.lines.haplotypes_N2M.sum(axis=1)
    return dosage_NM @ world.effects_MT + world.residual_NT[: dosage_NM.shape[0]]


def _trial(world: _World, s: int, k: int, grown: np.ndarray) -> pl.DataFrame:
    """One environment: every line once a replicate, shuffled into blocks, every check in every block."""
    programme, rng, e = world.programme, world.rng, s * world.programme.n_locations + k
    n_blocks = -(-grown.size // programme.block_size)
    checks = np.arange(programme.n_checks)
    line, replicate, block = [], [], []
    for r in range(programme.replicates):
        shuffled = rng.permutation(grown)
        blocks = np.sort(np.arange(grown.size) % n_blocks)
        line += [shuffled, np.tile(checks, n_blocks)]
        block += [blocks, np.repeat(np.arange(n_blocks), checks.size)]
        replicate.append(np.full(grown.size + n_blocks * checks.size, r))
    line_R, replicate_R, block_R = map(np.concatenate, (line, replicate, block))
    block_RT = rng.normal(0, programme.sigma2_block**0.5, (programme.replicates, n_blocks, programme.n_traits))
    error_RT = rng.normal(0, world.error_variance_E[e]**0.5, (line_R.size, programme.n_traits))
    value_RT = world.effect_ET[e] + _genotypic(world)[line_R] + world.interaction_NET[line_R, e] \
        + block_RT[replicate_R, block_R] + error_RT
    value_RT[rng.random(value_RT.shape) < programme.missing_cells] = np.nan
    ids, season = np.array(world.lines.ids), str(programme.first_season + s)
    head = {"line_id": ids[line_R], "season": [season] * line_R.size, "location": [f"site_{k + 1}"] * line_R.size,
            "environment": [f"S{k + 1}_{season}"] * line_R.size, "trial": ["main"] * line_R.size,
            "replicate": (replicate_R + 1).astype(str), "block": (block_R + 1).astype(str),
            "check": np.where(line_R < programme.n_checks, "yes", "no")}
    values = {TRAITS[t]: pl.Series(np.round(value_RT[:, t], 6)).fill_nan(None) for t in range(programme.n_traits)}
    return pl.DataFrame(head | values)


def _best(trials: list[pl.DataFrame], ids: list[str]) -> np.ndarray:
    """Lines of a season by the mean of the first trait, best first, checks left out."""
    trait = pl.col(TRAITS[0])
    means = pl.concat(trials).filter(pl.col("check") == "no").with_columns(trait - trait.mean().over("environment")) \
        .group_by("line_id").agg(trait.mean()).sort(TRAITS[0], "line_id", descending=[True, False], nulls_last=True)
    place = {x: i for i, x in enumerate(ids)}
    return np.array([place[x] for x in means["line_id"]])


def _finish(world: _World, trials: pl.DataFrame) -> Simulated:
    programme, lines = world.programme, world.lines
    founders, ids = programme.n_founders, lines.ids
    dosage_NM = lines.haplotypes_N2M.sum(axis=1).astype(np.int8)
    ungenotyped, synonym = ids[founders + 1], (f"{ids[founders]}-old", ids[founders])
    genotyped_N = np.array([x != ungenotyped for x in ids])
    p_M = dosage_NM[genotyped_N].mean(axis=0) / 2
    environments = [(f"S{k + 1}_{programme.first_season + s}", str(programme.first_season + s), f"site_{k + 1}")
                    for s in range(programme.n_seasons) for k in range(programme.n_locations)]
    truth = Truth(
        TRAITS[: programme.n_traits], tuple(ids), tuple(lines.family), dosage_NM, genotyped_N, world.effects_MT,
        dosage_NM @ world.effects_MT, world.residual_NT, world.effect_variance,
        world.effect_variance * float(2 * (p_M * (1 - p_M)).sum()), programme.sigma2_residual, programme.sigma2_ge,
        tuple(x[0] for x in environments), tuple(x[1] for x in environments), world.error_variance_E, world.effect_ET,
        world.interaction_NET, ungenotyped, synonym)
    renamed = (pl.col("line_id") == synonym[1]) & (pl.col("location") == f"site_{programme.n_locations}")
    trials = trials.with_columns(pl.when(renamed).then(pl.lit(synonym[0])).otherwise("line_id").alias("line_id"))
    return Simulated(truth, trials, _line_table(world, synonym), _environment_table(world, environments),
                     world.variants)


def _line_table(world: _World, synonym: tuple[str, str]) -> pl.DataFrame:
    lines, checks, founders = world.lines, world.programme.n_checks, world.programme.n_founders
    role = ["check"] * checks + ["parent"] * (founders - checks) + ["candidate"] * (len(lines.ids) - founders)
    generation = ["inbred"] * founders + [f"F{world.programme.selfings + 1}"] * (len(lines.ids) - founders)
    return pl.DataFrame({
        "line_id": lines.ids, "synonyms": [synonym[0] if x == synonym[1] else None for x in lines.ids],
        "family": lines.family, "parent_1": [a for a, _ in lines.parents], "parent_2": [b for _, b in lines.parents],
        "generation": generation, "role": role, "known_from": lines.known_from}, strict=False)


def _environment_table(world: _World, environments: list[tuple[str, str, str]]) -> pl.DataFrame:
    n = len(environments)
    names, seasons, locations = zip(*environments, strict=True)
    return pl.DataFrame({
        "environment": names, "season": seasons, "location": locations,
        "latitude": [-33.0 - int(x.removeprefix("site_")) for x in locations], "longitude": [-54.0] * n,
        "air_temperature_c": np.round(world.rng.normal(23, 1.5, n), 2),
        "rain_mm": np.round(world.rng.gamma(6, 80, n), 1)})


def _write_vcf(simulated: Simulated, path: Path) -> None:
    truth = simulated.truth
    called = np.array([b"\t0/0", b"\t0/1", b"\t1/1"])
    samples = [x for x, kept in zip(truth.lines, truth.genotyped_N, strict=True) if kept]
    text = "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *samples])
    contigs = "".join(f"##contig=<ID={c}>\n" for c in simulated.variants["chromosome"].unique(maintain_order=True))
    dosage_MN = np.ascontiguousarray(truth.dosage_NM[truth.genotyped_N].T)
    with path.open("wb") as out:
        out.write(f'##fileformat=VCFv4.2\n{contigs}##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n{text}\n'
                  .encode())
        columns = simulated.variants.select("variant_id", "chromosome", "position", "ref", "alt")
        for (name, chromosome, position, ref, alt), dosage_N in zip(columns.iter_rows(), dosage_MN, strict=True):
            out.write(f"{chromosome}\t{position}\t{name}\t{ref}\t{alt}\t.\tPASS\t.\tGT".encode())
            out.write(called[dosage_N].tobytes() + b"\n")
