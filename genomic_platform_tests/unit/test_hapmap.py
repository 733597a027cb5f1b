"""HapMap files: every way of writing a call, what is left out, and each fault in words."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from genomic_platform.errors import InputError
from genomic_platform.genotypes.read import inspect_genotypes, read_genotypes
from genomic_platform.genotypes.readers import hapmap as hapmap_reader
from genomic_platform.genotypes.readers.hapmap import open_hapmap
from genomic_platform.landing.checkup import kind_of
from genomic_platform_tests.unit.test_genotype_readers import calls_by_variant, put, record, vcf

COLUMNS = "rs#\talleles\tchrom\tpos\tstrand\tassembly#\tcenter\tprotLSID\tassayLSID\tpanelLSID\tQCcode"
GENERATOR = np.random.default_rng(4)


def row(calls: str, *, name: str = "m1", alleles: str = "A/G", chromosome: str = "1", position: object = 5) -> str:
    return "\t".join([name, alleles, chromosome, str(position), "+", *["NA"] * 6, *calls.split()]) + "\n"


def hapmap(*rows: str, names: str = "a b c") -> str:
    return "\t".join([COLUMNS, *names.split()]) + "\n" + "".join(rows)


@pytest.mark.parametrize("calls", ["A R G", "AA AG GG", "AA GA GG", "a r g", "A AG GG"])
def test_one_letter_or_two(tmp_path: Path, calls: str) -> None:
    table, _ = read_genotypes([put(tmp_path, "x.hmp.txt", hapmap(row(calls)))])
    assert calls_by_variant(table) == {"m1": [0, 1, 2]}
    assert table.variants.select("chromosome", "position", "ref", "alt").row(0) == ("1", 5, "A", "G")


@pytest.mark.parametrize("missing", ["N", "NN", "."])
def test_missing_calls_and_insertions(tmp_path: Path, missing: str) -> None:
    text = hapmap(row(f"A {missing} G"), row("+ 0 -", name="m2", alleles="+/-", position=9))
    table, _ = read_genotypes([put(tmp_path, "x.hmp.txt", text)])
    assert calls_by_variant(table) == {"m1": [0, -1, 2], "m2": [0, 1, 2]}


def test_the_same_calls_as_the_vcf_of_them(tmp_path: Path) -> None:
    pairs = [("A", "C", "M"), ("A", "G", "R"), ("A", "T", "W"), ("C", "G", "S"), ("C", "T", "Y"), ("G", "T", "K")]
    names = " ".join(f"L{i}" for i in range(23))
    rows, records = [], []
    for k in range(300):
        ref, alt, both = pairs[k % 6] if k % 2 else (*pairs[k % 6][1::-1], pairs[k % 6][2])
        dosage_N = GENERATOR.integers(-1, 3, 23)
        letters = {-1: "N", 0: ref, 1: both, 2: alt}
        rows.append(row(" ".join(letters[d] for d in dosage_N), name=f"m{k}", alleles=f"{ref}/{alt}", position=k + 1))
        gt = {-1: "./.", 0: "0/0", 1: "0/1", 2: "1/1"}
        records.append(record(" ".join(gt[d] for d in dosage_N), name=f"m{k}", ref=ref, alt=alt, position=k + 1))
    mine = put(tmp_path, "x.hmp.txt.gz", gzip.compress(hapmap(*rows, names=names).encode()))
    theirs = put(tmp_path, "x.vcf", vcf(*records, samples=names))
    (table, _), (expected, _) = read_genotypes([mine]), read_genotypes([theirs])
    assert table.variants.equals(expected.variants)
    assert np.array_equal(table.packed_MB, expected.packed_MB)
    assert inspect_genotypes([mine]).kind == "hapmap"


def test_a_file_of_many_chunks_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path, "x.hmp.txt", hapmap(*(row("A R G", name=f"m{k}", position=k) for k in range(50))))
    monkeypatch.setattr(hapmap_reader, "_CHUNK_CELLS", 21)
    chunks = list(open_hapmap(path).chunks)
    assert [len(chunk.packed_mB) for chunk in chunks] == [7] * 7 + [1]
    assert [name for chunk in chunks for name in chunk.variants["variant_id"]] == [f"m{k}" for k in range(50)]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    text = hapmap(row("A R G"), row("A C G", name="m2", alleles="A/C/G", position=6),
                  row("A A A", name="m3", alleles="A", position=7), row("A A A", name="m4", alleles="A/N", position=8))
    table, notices = read_genotypes([put(tmp_path, "x.hmp.txt", text)])
    assert table.n_variants == 1
    assert {n.code: n.count for n in notices} == {"multiallelic": 1, "one_allele": 2}


@pytest.mark.parametrize(("text", "complaint"), [
    (hapmap(row("A T G")), "x.hmp.txt, line 2: call is 'T' of b; expected A, G, both, a IUPAC letter of them, or N"),
    (hapmap(row("A AT GGG")), "line 2: call is 'AT' of b and 1 more"),
    (hapmap(row("A G")), "line 2: 2 calls; expected 3 calls after eleven columns"),
    (hapmap("m1\tA/G\t1\n"), "line 2: 0 calls"),
    (hapmap(row("A R G", position="x")), "line 2: pos is 'x'; expected a whole number of base pairs"),
    (hapmap(row("A R G"), names="a a c"), "line 1: line name is given more than once: 'a'"),
    (COLUMNS + "\n", "line 1: 11 columns; expected eleven columns"),
    (hapmap(), "none; expected at least one variant with two alleles"),
    (hapmap(row("A A A")), "all of them monomorphic"),
])
def test_each_fault_has_its_words(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InputError) as caught:
        read_genotypes([put(tmp_path, "x.hmp.txt", text)])
    assert complaint in str(caught.value)


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(hapmap(*(row("A R G", name=f"m{k}", position=k) for k in range(500))).encode())
    with pytest.raises(InputError, match="truncated or damaged"):
        read_genotypes([put(tmp_path, "x.hmp.txt.gz", whole[:-20])])


@pytest.mark.parametrize("name", ["x.hmp.txt", "content_decides.txt"])
def test_check_knows_it_from_a_trial_file(tmp_path: Path, name: str) -> None:
    assert kind_of(put(tmp_path, name, hapmap(row("A R G")))) == "genotypes"
