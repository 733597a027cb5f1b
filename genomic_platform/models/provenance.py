"""What a trained model takes for granted of the data it is given, and whether that still holds when it scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from genomic_platform.errors import Problem
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.schemas.predictions import VALUES

#: How calls are counted everywhere in the platform.
ALLELE_CODING = "copies of the ALT allele of a diploid: 0, 1, 2; missing −1"


@dataclass(frozen=True)
class Provenance:
    """What a model was trained on, as far as whoever scores with it must agree.

    Attributes
    ----------
    schema_version : of the contract VALUES that its values keep. marker_digest : of ids, positions and alleles of the
        training panel's markers, in order. units : of each trait.
    """

    recipe: str
    trained_through: str
    schema_version: int
    allele_coding: str
    n_markers: int
    marker_digest: str
    units: Mapping[str, str]

    @classmethod
    def of(cls, recipe: str, known: TrainingSet, units: Mapping[str, str]) -> Self:
        """Of a model trained on `known`."""
        panel = known.genotypes
        return cls(recipe, known.season, VALUES.schema_version, ALLELE_CODING, panel.n_variants, panel.marker_digest,
                   {trait: units.get(trait, "") for trait in known.traits})

    def mismatches(self, units: Mapping[str, str]) -> list[Problem]:
        """Everything but the markers (the model itself matches those) that is not as it was in training."""
        model = f"{self.recipe} trained through season {self.trained_through}"
        again = "run the seasons again: genomic-platform run DIR --force"
        found = [Problem(model, f"{self.units[trait]!r}, in which it was trained", repr(unit),
                         f"put the unit back in program.toml, or {again}", field=f"unit of {trait}")
                 for trait, unit in units.items() if trait in self.units and self.units[trait] != unit]
        if self.schema_version != VALUES.schema_version:
            found.append(Problem(model, f"version {VALUES.schema_version} of the values' table",
                                 str(self.schema_version), again, field="schema_version"))
        if self.allele_coding != ALLELE_CODING:
            found.append(Problem(model, ALLELE_CODING, self.allele_coding, again, field="allele_coding"))
        return found

    def save(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> Self:
        return cls(**json.loads(file.read_text(encoding="utf-8")))
