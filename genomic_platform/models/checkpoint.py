"""Checkpoints of a long training: whole on disk, on time and on SIGTERM, so that a killed one goes on where it was.

What a training's state is, the training says: nested dicts, lists and tuples of numbers, texts, arrays and tensors.
Resumed, it gives the numbers of an undisturbed one when the state holds all it depends on: parameters, optimiser,
position in the data, random generators, search so far. Nothing is unpickled, so a file from elsewhere runs no code.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Self

import numpy as np

State = Mapping[str, Any]

FILE = "checkpoint.npz"
_TREE = "tree"
_log = logging.getLogger(__name__)


class Checkpoint:
    """The place of one training on disk.

    Inside the `with` block SIGTERM waits for the next `reached`, which saves and then hands the signal on to whoever
    would have had it: the process ends, or Dagster interrupts the step.

    Parameters
    ----------
    folder : kept by the caller, who removes it once the result is safe; None keeps nothing and leaves signals alone.
    every_s : seconds between two saves.

    Examples
    --------
    >>> with Checkpoint(folder) as checkpoint:
    ...     state = checkpoint.load() or start()
    ...     for state in training(state):
    ...         checkpoint.reached(lambda: state)
    """

    def __init__(self, folder: Path | None, every_s: float = 300.0) -> None:
        self.folder, self.every_s = folder, every_s
        self._saved, self._asked = time.monotonic(), False
        self._previous: Any = None
        self._guarding = False

    def part(self, name: str) -> Checkpoint:
        """The place of one training of several, such as a trait's."""
        return Checkpoint(self.folder / name if self.folder else None, self.every_s)

    def __enter__(self) -> Self:
        if self.folder is not None and threading.current_thread() is threading.main_thread():
            self._previous, self._guarding = signal.signal(signal.SIGTERM, self._told), True
        self._saved = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._hand_on()

    def _told(self, _signal: int, _frame: FrameType | None) -> None:
        self._asked = True

    def _hand_on(self) -> None:
        """Give SIGTERM back to its former handler, and the signal that came meanwhile."""
        if not self._guarding:
            return
        self._guarding = False
        signal.signal(signal.SIGTERM, self._previous)
        if self._asked:
            signal.raise_signal(signal.SIGTERM)

    def reached(self, state: Callable[[], State]) -> None:
        """A point that the training can go on from; `state` is called when it is to be saved."""
        if self._asked or time.monotonic() - self._saved >= self.every_s:
            self.save(state())
        if self._asked:
            self._hand_on()

    def save(self, state: State) -> None:
        """Write the state so that a kill at any moment leaves this or the former one whole."""
        if self.folder is None:
            return
        arrays: dict[str, np.ndarray] = {}
        tree = json.dumps(_encoded(state, arrays)).encode()
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{FILE}.{os.getpid()}"
        with temporary.open("wb") as file:
            np.savez(file, **{_TREE: np.frombuffer(tree, dtype=np.uint8)}, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.folder / FILE)
        self._saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The state last saved; None when there is none, or none that can be read (which is logged)."""
        if self.folder is None or not (self.folder / FILE).is_file():
            return None
        try:
            with (self.folder / FILE).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                return _decoded(json.loads(stored[_TREE].tobytes()), stored)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            _log.warning("%s cannot be read (%s); training starts from the beginning", self.folder / FILE, error)
            return None


def _encoded(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The value as JSON, its arrays put aside under names."""
    if value is None or type(value) in (bool, int, float, str):  # not np.float64, which is a float too
        return value
    if isinstance(value, Mapping):
        return {"dict": [[_encoded(k, arrays), _encoded(v, arrays)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_encoded(v, arrays) for v in value]}
    name = f"a{len(arrays)}"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1)
        arrays[name] = flat.view(torch.uint8).numpy()  # bytes: NumPy has no bfloat16
        return {"tensor": [name, str(value.dtype).removeprefix("torch."), list(value.shape)]}
    if isinstance(value, np.generic | np.ndarray) and value.dtype != object:
        arrays[name] = np.asarray(value)
        return {"array": [name, isinstance(value, np.generic)]}
    raise TypeError(f"a checkpoint's state holds a {type(value).__name__}; expected numbers, texts, arrays or tensors "
                    "in dicts, lists and tuples; repair: keep its state_dict() or its fields")


def _decoded(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    (kind, content), = value.items()
    if kind == "dict":
        return {_decoded(k, arrays): _decoded(v, arrays) for k, v in content}
    if kind == "list":
        return [_decoded(v, arrays) for v in content]
    if kind == "tuple":
        return tuple(_decoded(v, arrays) for v in content)
    if kind == "array":
        name, scalar = content
        return arrays[name][()] if scalar else arrays[name]
    import torch

    name, dtype, shape = content
    return torch.from_numpy(arrays[name].copy()).view(getattr(torch, dtype)).reshape(shape)
