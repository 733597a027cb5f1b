"""Recipes by name, and reading back a fitted model of any of them. `evaluate` takes a class of one's own as well.

    genomic_blup             GBLUP
    kernel                   Gaussian kernels, averaged over bandwidths by restricted likelihood on up to 600 lines
    arc_cosine               arc-cosine kernel, number of layers likewise
    boosted_trees            boosted trees on population structure and chosen markers
    bayes_b, bayes_c_pi      Bayesian regressions on all markers: some have no effect, the others a variance each or one
    bayes_r, bayesian_lasso  effects of four sizes; every marker an effect, most near 0
    reaction_norm            lines × environments in a single stage, environment covariates where there are any
    family_blup              GBLUP whose marker effects differ between families, their correlation by REML
    marker_network           GBLUP and a network over all markers, kept where it helps lines it has not seen
    convolutional_network    the same with features of neighbouring markers only, window by window
    graph_network            the same on a line's scores and those of its nearest relatives
    package.module:Class     a programme's own recipe, made without arguments
"""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path

from genomic_platform.errors import NotAvailable, ProgramError
from genomic_platform.models.line_model import PARAMETERS, RUN
from genomic_platform.models.protocol import FittedModel, Model

_HERE = "genomic_platform.models"
#: Name → `module:Class`, imported when it is asked for: no recipe waits for another's packages.
RECIPES: dict[str, str] = {
    "genomic_blup": f"{_HERE}.genomic_blup:GenomicBlup", "kernel": f"{_HERE}.kernel:Kernel",
    "arc_cosine": f"{_HERE}.arc_cosine:ArcCosine",
    "boosted_trees": f"{_HERE}.trees.recipe:BoostedTrees",
    "family_blup": f"{_HERE}.family_blup:FamilyBlup",
    "reaction_norm": f"{_HERE}.mixed.reaction_norm_recipe:ReactionNormRecipe",
    "bayes_b": f"{_HERE}.bayes.recipe:BayesB", "bayes_c_pi": f"{_HERE}.bayes.recipe:BayesCPi",
    "bayes_r": f"{_HERE}.bayes.recipe:BayesR", "bayesian_lasso": f"{_HERE}.bayes.recipe:BayesianLasso",
    "marker_network": f"{_HERE}.networks.marker_network:MarkerNetwork",
    "convolutional_network": f"{_HERE}.networks.convolutional_network:ConvolutionalNetwork",
    "graph_network": f"{_HERE}.networks.graph_network:GraphNetwork",
}


def load_recipe(name: str) -> Model:
    """The recipe called `name` in program.toml.

    Raises
    ------
    ProgramError : no such name, module or class, or a class without `name`, `code_version` and `fit`.
    """
    recipe = _find(RECIPES.get(name, name), f"recipe '{name}'")()
    missing = [need for need in ("name", "code_version", "fit") if not hasattr(recipe, need)]
    if missing:
        raise ProgramError(f"recipe '{name}': expected the attributes name, code_version and fit; missing "
                           f"{', '.join(missing)}; follow the protocol in genomic_platform/models/protocol.py")
    return recipe


def load_fitted(folder: Path) -> FittedModel:
    """Read a model that any recipe saved; its model.json names the class.

    Raises
    ------
    NotAvailable : no model in the folder. ProgramError : its class cannot be imported here.
    """
    if not (folder / PARAMETERS).is_file():
        raise NotAvailable(f"{folder}: no {PARAMETERS}; expected a folder that a fitted model was saved to")
    path = json.loads((folder / PARAMETERS).read_text())["class"]
    return _find(path, f"model in {folder.name}").load(folder)


def parameters_digest(folder: Path) -> str:
    """sha256 (hex) over a saved model's files, names and contents, without the record of the run (run.json)."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != RUN):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\t{content}\n".encode())
    return digest.hexdigest()


def _find(path: str, what: str) -> type:
    module_name, _, class_name = path.partition(":")
    if not class_name:
        raise ProgramError(f"{what}: expected one of {', '.join(sorted(RECIPES))} or package.module:Class; "
                           f"found '{path}'")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ProgramError(f"{what}: module {module_name} cannot be imported ({error}); install it into the "
                           f"environment the platform runs in") from error
    if not isinstance(found := getattr(module, class_name, None), type):
        raise ProgramError(f"{what}: module {module_name} has no class {class_name}")
    return found
