"""A trained branch as arrays: what is kept of a training, read into a module again, saved and loaded.

Axes: T traits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from genomic_platform.models import markers
from genomic_platform.models.networks.inputs import Inputs

if TYPE_CHECKING:
    from torch import nn

INPUTS, BRANCH = "inputs", "branch"


@dataclass(frozen=True, eq=False)
class Branch:
    """A trained branch.

    Attributes
    ----------
    parameters : of the module, by name, float32, after each pass that was some trait's best.
    epoch_T : the best pass of each trait; 0 = none.
    unit_T : what its values are multiplied by: gate weight × the trait's standard deviation; 0 = closed.
    """

    inputs: Inputs
    parameters: dict[int, dict[str, np.ndarray]]
    epoch_T: np.ndarray
    unit_T: np.ndarray

    def stages(self, module: nn.Module) -> Iterator[np.ndarray]:
        """Load the parameters of each pass into the module; yields which traits are read from it then, bool (T,)."""
        import torch

        for epoch, parameters in self.parameters.items():
            module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in parameters.items()})
            yield self.epoch_T == epoch

    def save(self, folder: Path) -> None:
        """Write the branch and what its inputs need into a model's folder."""
        save_arrays(folder / BRANCH, {name: getattr(self, name) for name in ("epoch_T", "unit_T")})
        for epoch, parameters in self.parameters.items():
            save_arrays(folder / BRANCH / str(epoch), parameters)
        save_arrays(folder / INPUTS, self.inputs.arrays())

    @classmethod
    def load(cls, folder: Path, inputs: Inputs) -> Self:
        """Read what `save` wrote; `inputs` from its arrays."""
        stages = {int(path.name): load_arrays(path) for path in (folder / BRANCH).iterdir() if path.is_dir()}
        return cls(inputs, stages, **load_arrays(folder / BRANCH))


def save_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """One .npy file each, named so."""
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        markers.save_array(array, folder / f"{name}.npy")


def load_arrays(folder: Path) -> dict[str, np.ndarray]:
    """What `save_arrays` wrote."""
    return {path.stem: np.load(path, allow_pickle=False) for path in sorted(folder.glob("*.npy"))}


def torch_circumstances() -> dict[str, str]:
    """Version and threads of torch, where it is installed."""
    import torch

    return {"torch": version("torch"), "torch threads": str(torch.get_num_threads())}
