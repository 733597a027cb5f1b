"""Blocked gzip (BGZF), as bgzip and htslib write it: members of at most 64 KiB, each with its size, and an end marker.

Only writing belongs here; `readers/text.py` inflates. Reference: SAM specification, section 4.1 (samtools/hts-specs).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from isal import isal_zlib

from genomic_platform.genotypes.parallel import in_order

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
_BLOCK = 0xFF00  # as htslib: even text that does not shrink then fits a member of 64 KiB
_LEVEL, _RAW = 2, -15
_HEAD = bytes.fromhex("1f8b08040000000000ff060042430200")
_HEAD_AND_TAIL = len(_HEAD) + 2 + 8


def bgzf_members(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Compressed text of each of `blocks`, several at once by threads, and the end marker."""
    yield from in_order(_members, blocks)
    yield BGZF_END


def _members(text: bytes) -> bytes:
    return b"".join(_member(text[start : start + _BLOCK]) for start in range(0, len(text), _BLOCK))


def _member(text: bytes) -> bytes:
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, _RAW)
    body = compressor.compress(text) + compressor.flush()
    size = struct.pack("<H", len(body) + _HEAD_AND_TAIL - 1)
    return _HEAD + size + body + struct.pack("<II", isal_zlib.crc32(text), len(text))
