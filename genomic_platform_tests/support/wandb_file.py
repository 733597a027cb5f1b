"""Reads the file that Weights & Biases leaves of an offline run: LevelDB's log format after a header of seven bytes.

Reference: github.com/google/leveldb, doc/log_format.md; the records are the package's own protocol buffers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK, _HEADER, _MAGIC = 32768, 7, b":W&B"
_FULL, _LAST = 1, 4


@dataclass
class OfflineRun:
    """What the file says, in the order it was said."""

    id: str = ""
    name: str = ""
    project: str = ""
    group: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    exit_code: int | None = None


def records(file: Path) -> Iterator[bytes]:
    """The records' bytes, fragments joined."""
    content, at, joined = file.read_bytes(), _HEADER, b""
    assert content[:4] == _MAGIC
    while at + _HEADER <= len(content):
        if (left := _BLOCK - at % _BLOCK) < _HEADER:
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4:at + 6], "little"), content[at + 6]
        joined += content[at + _HEADER:at + _HEADER + length]
        at += _HEADER + length
        if kind in (_FULL, _LAST):
            yield joined
            joined = b""


def read_offline(file: Path) -> OfflineRun:
    from wandb.proto import wandb_internal_pb2

    run = OfflineRun()
    for raw in records(file):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(raw)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            told = record.run
            run.id, run.name, run.project, run.group = told.run_id, told.display_name, told.project, told.run_group
            run.config |= {item.key: json.loads(item.value_json) for item in told.config.update}
        elif kind == "summary":
            run.summary |= {item.key or ".".join(item.nested_key): json.loads(item.value_json)
                            for item in record.summary.update}
        elif kind == "history":
            run.history.append({item.key or ".".join(item.nested_key): json.loads(item.value_json)
                                for item in record.history.item})
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run
