"""Which names the versioned store takes for branches, tags and paths, and how a commit carries its metadata.

Here belong rules that every store implementation shares, so that what works on a laptop works on a server.
Nothing is read or written here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from genomic_platform.errors import StoreError

_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,199}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_LONGEST_NAME = 255
_TRAILER = "Genomic-Platform-Metadata: "


def is_commit_id(ref: str) -> bool:
    return _COMMIT.fullmatch(ref) is not None


def is_branch_name(ref: str) -> bool:
    return _BRANCH.fullmatch(ref) is not None and not is_commit_id(ref) and ref != "HEAD"


def is_tag_name(ref: str) -> bool:
    wrong = ".." in ref or ref.endswith((".", ".lock")) or is_commit_id(ref) or ref == "HEAD"
    return _TAG.fullmatch(ref) is not None and not wrong


def check_branch_name(name: str) -> None:
    """Raises StoreError unless `name` may name a branch."""
    if not is_branch_name(name):
        raise StoreError(f"branch {name!r}: expected letters, digits, '_' and '-', not starting with '-', not 'HEAD' "
                         "and not 40 or 64 hexadecimal digits; choose another name")


def check_tag_name(name: str) -> None:
    """Raises StoreError unless `name` may name a tag."""
    if not is_tag_name(name):
        raise StoreError(f"tag {name!r}: expected letters, digits, '_', '-' and single '.', starting with a letter, "
                         "digit or '_', not ending with '.' or '.lock'; choose another name")


def check_path(path: str) -> None:
    """Raises StoreError unless `path` may hold an object: relative, `/` between plain names of at most 255 bytes."""
    if fault := _path_fault(path):
        raise StoreError(f"path {path!r}: {fault}; choose another path")


def _path_fault(path: str) -> str | None:
    try:
        names = [name.encode() for name in path.split("/")]
    except UnicodeEncodeError:
        return "expected Unicode text, found half a surrogate pair"
    if _CONTROL.search(path):
        return "found a control character or a backslash"
    if any(name in (b"", b".", b"..") for name in names):
        return "expected a relative path without empty, '.' or '..' parts"
    if any(name.lower().startswith((b".git", b"git~")) for name in names):
        return "found a name that Git keeps for itself"
    if any(len(name) > _LONGEST_NAME for name in names):
        return f"expected names of at most {_LONGEST_NAME} bytes"
    return None


def pack_message(message: str, metadata: Mapping[str, str]) -> str:
    """One commit message holding both, readable in `git log`; `unpack_message` gives both back exactly,
    but for line ends before the message's first text.

    Raises
    ------
    StoreError : a NUL or unpaired surrogate in the message, or a metadata value that is no text.
    """
    wrong = [key for key, value in metadata.items() if not (isinstance(key, str) and isinstance(value, str))]
    if wrong:
        raise StoreError(f"commit metadata {', '.join(map(repr, wrong))}: expected text; convert the value with str()")
    trailer = json.dumps(dict(metadata), ensure_ascii=False, sort_keys=True)
    try:
        trailer.encode()
    except UnicodeEncodeError:
        trailer = json.dumps(dict(metadata), sort_keys=True)
    if "\x00" in message or message.encode(errors="ignore").decode() != message:
        raise StoreError(f"commit message {message!r}: expected text without NUL and unpaired surrogates")
    return f"{message}\n\n{_TRAILER}{trailer}\n"


def unpack_message(packed: str) -> tuple[str, dict[str, str]]:
    """The (message, metadata) of a packed message; a commit made by other means has no metadata."""
    # Git drops line ends before a message's first text, here those between an empty message and its metadata.
    message, found, trailer = f"\n\n{packed}".rpartition(f"\n\n{_TRAILER}")
    return (message.removeprefix("\n\n"), json.loads(trailer)) if found else (packed, {})
