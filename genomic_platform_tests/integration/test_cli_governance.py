"""Deciding and proving by command: rollback, approve, reject, trace, audit, publish, sweep, cards, the store."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import jsonschema
import polars as pl
import pytest

from genomic_platform.results.report import json_schema
from genomic_platform.stores.embedded import EmbeddedStore
from genomic_platform_tests.support.command_line import call, json_of
from genomic_platform_tests.support.lakefs_server import Server

ACTIONS = Path(__file__).parents[2] / "deploy" / "lakefs_actions"
TRAIT = "grain_yield_t_ha"


def champion(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found = json_of(call(capsys, "report", folder, "--json"))
    jsonschema.validate(found, json_schema("report"))
    return next(c for c in found["champions"] if c["trait"] == TRAIT)


def test_roll_back_predict_approve_and_prove_it(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    genotypes = copy / "landing" / "genotypes" / "genotypes.vcf"
    before = champion(copy, capsys)
    assert call(capsys, "predict", copy, "--genotypes", genotypes, "--out", tmp_path / "before.csv").code == 0
    rolled = call(capsys, "rollback", copy, "--trait", TRAIT, "--reason", "off in the field")
    assert rolled.code == 0, rolled.err
    assert rolled.said("trained through season 2019")
    after = champion(copy, capsys)
    assert (before["trained_through"], after["trained_through"], after["decision"]) == ("2020", "2019", "rollback")
    assert call(capsys, "predict", copy, "--genotypes", genotypes, "--out", tmp_path / "after.csv").code == 0
    then, now = (pl.read_csv(tmp_path / f"{name}.csv").filter(pl.col("trait") == TRAIT) for name in ("before", "after"))
    assert not then.equals(now)
    assert call(capsys, "report", copy).said("pinned: rolled back by")
    assert call(capsys, "status", copy).said("pinned, rolled back by")
    refused = call(capsys, "reject", copy, "--trait", TRAIT, "--reason", "no")
    assert (refused.code, refused.said("nothing waits for approval")) == (3, 1)
    assert call(capsys, "rollback", copy, "--trait", TRAIT, "--reason", " ").code == 2
    approved = call(capsys, "approve", copy, "--trait", TRAIT, "--reason", "known and accepted")
    assert approved.code == 0, approved.err
    assert champion(copy, capsys)["pinned"] is None

    verified = call(capsys, "audit", "verify", copy)
    assert verified.code == 0, verified.err
    shown = [json.loads(line) for line in call(capsys, "audit", "show", copy, "--json").out.splitlines()]
    assert [e["action"] for e in shown[-4:]] == ["prediction", "rollback", "prediction", "approval"]
    assert shown[-3]["why"] == "off in the field"
    log = copy.parent / ".genomic_platform" / "audit" / "audit.jsonl"
    log.write_text(log.read_text().replace("off in the field", "agreed by all"))
    broken = call(capsys, "audit", "verify", copy)
    assert broken.code == 1
    assert broken.said(f"line {len(shown) - 2}: its content does not give its hash")


def test_trace_in_words_and_as_json(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = pl.read_csv(copy / "landing" / "trials" / "trials.csv", infer_schema_length=0)["line_id"][0]
    arguments = ("trace", copy, "--line", line, "--season", "2020", "--trait", TRAIT)
    found = json_of(call(capsys, *arguments, "--json"))
    jsonschema.validate(found, json_schema("trace"))
    told = call(capsys, *arguments)
    for said in (found["model"]["model_version"][:12], found["release"]["commit"][:12], "learned from"):
        assert told.said(said), told.out
    assert call(capsys, "trace", copy, "--line", "nobody", "--season", "2020", "--trait", TRAIT).code == 3


def test_sweep_and_collect(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "sweep", copy).said("0 branches removed")
    assert call(capsys, "publish", copy, "1234").code == 3
    assert call(capsys, "store", "gc", copy, "--older-than", "0", "--dry-run").said("would be removed")
    report = call(capsys, "report", copy).out
    assert call(capsys, "store", "gc", copy, "--older-than", "0").code == 0
    assert call(capsys, "store", "gc", copy, "--older-than", "0").said("0 files, 0.0 MB removed")
    assert call(capsys, "report", copy).out == report


def test_card_as_page_and_as_json(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jsonschema.validate(json_of(call(capsys, "card", copy, "--trait", TRAIT)), json_schema("model_card"))
    page = tmp_path / "card.html"
    assert call(capsys, "card", copy, "--trait", TRAIT, "--version", 1, "--out", page).said("version 1")
    assert page.read_text().startswith("<!doctype html>")
    assert call(capsys, "card", copy, "--trait", TRAIT, "--out", tmp_path / "card.pdf").code == 2


def test_moving_needs_a_server(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (("setup",), ("migrate", copy)):
        refused = call(capsys, "store", *arguments)
        assert (refused.code, refused.said("lakeFS server, found none; repair: set lakefs_endpoint")) == (2, 1)


@pytest.mark.lakefs
def test_a_workspace_moves_to_lakefs_and_goes_on_there(copy: Path, lakefs_server: Server, tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    def values(name: str, *more: str) -> bytes:
        file = tmp_path / name
        asked = call(capsys, "export", copy, "--asset", "breeding_values", "--season", "2019", "--out", file, *more)
        assert asked.code == 0, asked.err
        return file.read_bytes()

    before = values("before.csv")
    old = EmbeddedStore(copy.parent / ".genomic_platform" / "store").log(limit=1)[0].id
    for name, value in (("ENDPOINT", lakefs_server.endpoint), ("ACCESS_KEY_ID", lakefs_server.key),
                        ("SECRET_ACCESS_KEY", lakefs_server.secret), ("REPOSITORY", f"cli-{uuid4().hex[:12]}")):
        monkeypatch.setenv(f"GENOMIC_PLATFORM_LAKEFS_{name}", value)
    assert call(capsys, "status", copy).said("repair: genomic-platform store setup makes it")
    assert call(capsys, "store", "setup", "--actions", ACTIONS).said("is ready")
    assert call(capsys, "store", "migrate", copy).said("commits moved, 0 before")
    assert values("after.csv") == values("then.csv", "--commit", old) == before
    assert call(capsys, "run", copy).said("nothing changed")
    rolled = call(capsys, "rollback", copy, "--trait", TRAIT, "--reason", "off in the field")
    assert rolled.code == 0, rolled.err
    assert call(capsys, "audit", "verify", copy).code == 0
