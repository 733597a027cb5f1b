"""Text of genotype files, plain, gzip or bgzip: as numbered lines, or as large blocks of whole lines.

bgzip's members are inflated by several threads. A file that is cut or damaged raises EOFError, zlib.error or
BadGzipFile, which `truncated` puts in words.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from isal import igzip_threaded, isal_zlib

from genomic_platform.errors import Problem
from genomic_platform.genotypes.bgzf import BGZF_END
from genomic_platform.genotypes.parallel import available_cores, in_order

GZIP_MAGIC, BOM = b"\x1f\x8b", b"\xef\xbb\xbf"
#: What isal and the standard library raise for a file that is cut or damaged.
DAMAGED: tuple[type[Exception], ...] = (
    EOFError, zlib.error, gzip.BadGzipFile, isal_zlib.IsalError)  # pyright: ignore[reportAssignmentType]  its stub
_MEMBERS = 64
_BLOCK = _MEMBERS << 16  # a member of bgzip holds at most 64 KiB of text
_PIECE = 4_000_000  # bytes read at once
_ROOM = 1 << 20  # before a block, for the line that the block before it began
_BGZF_HEADER, _WITH_GZIP_HEADER = 18, 31


def line_blocks(path: Path) -> Iterator[np.ndarray]:
    """Blocks of whole lines with their ends, uint8 (characters,), the first without a byte order mark.

    A block is a view of a buffer that is used again: it holds until the next one is asked for.
    """
    with open(path, "rb") as source:
        head = source.read(_BGZF_HEADER)
    if not head.startswith(GZIP_MAGIC):
        blocks = _plain_blocks(path)
    elif head[12:14] == b"BC":
        blocks = _bgzf_blocks(path)
    else:
        blocks = _gzip_blocks(path)
    rest, first = b"", True
    for buffer, end in blocks:
        start = _ROOM + len(BOM) * (first and buffer[_ROOM : _ROOM + len(BOM)].tobytes() == BOM)
        first = False
        cut = _after_last_line(buffer, start, end)
        if cut == start:
            rest += buffer[start:end].tobytes()
            continue
        if len(rest) > start:  # a line longer than the room kept for it
            yield np.frombuffer(rest + buffer[start:cut].tobytes(), dtype=np.uint8)
        else:
            buffer[start - len(rest) : start] = np.frombuffer(rest, dtype=np.uint8)
            yield buffer[start - len(rest) : cut]
        rest = buffer[cut:end].tobytes()
    if rest:
        yield np.frombuffer(rest + b"\n", dtype=np.uint8)


def numbered_lines(path: Path) -> Generator[tuple[int, bytes], None, None]:
    """Lines and their numbers from 1, without their ends."""
    number = 0
    for block in line_blocks(path):
        for line in block[:-1].tobytes().split(b"\n"):
            number += 1
            yield number, line.rstrip(b"\r")


def truncated(path: Path, why: str) -> Problem:
    """The problem of a compressed file that ends early or whose checksum fails."""
    return Problem(path.name, "a complete gzip or bgzip file", f"a truncated or damaged one ({why})",
                   "copy or download the file again, or compress it again from its source")


def _after_last_line(buffer: np.ndarray, start: int, end: int) -> int:
    """Behind the last line end between `start` and `end`; `start` when there is none."""
    step = 1 << 16
    for high in range(end, start, -step):
        low = max(start, high - step)
        if (found := buffer[low:high].tobytes().rfind(b"\n")) >= 0:
            return low + found + 1
    return start


def _plain_blocks(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    buffer = np.empty(_ROOM + _BLOCK, dtype=np.uint8)
    with open(path, "rb") as source:
        while n := source.readinto(buffer[_ROOM:].data):
            yield buffer, _ROOM + n


def _gzip_blocks(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Inflated by a thread of its own, ahead of who reads."""
    buffer = np.empty(_ROOM + _BLOCK, dtype=np.uint8)
    with igzip_threaded.open(path, "rb", threads=1) as source:
        while block := source.read(_BLOCK):
            assert isinstance(block, bytes)
            buffer[_ROOM : _ROOM + len(block)] = np.frombuffer(block, dtype=np.uint8)
            yield buffer, _ROOM + len(block)


def _bgzf_blocks(path: Path) -> Iterator[tuple[np.ndarray, int]]:
    """Batches of members, inflated by all cores ahead of who reads, into buffers that go round."""
    free: SimpleQueue[np.ndarray] = SimpleQueue()
    for _ in range(available_cores() + 2):  # as many as `in_order` holds, and the one being read
        free.put(np.empty(_ROOM + _BLOCK, dtype=np.uint8))

    def inflated(members: list[memoryview]) -> tuple[np.ndarray, int]:
        buffer, end = free.get(), _ROOM
        for member in members:
            text = isal_zlib.decompress(member, wbits=_WITH_GZIP_HEADER)
            buffer[end : end + len(text)] = np.frombuffer(text, dtype=np.uint8)
            end += len(text)
        return buffer, end

    for buffer, end in in_order(inflated, _bgzf_batches(path)):
        yield buffer, end
        free.put(buffer)


def _bgzf_batches(path: Path) -> Iterator[list[memoryview]]:
    """Compressed members in batches. Raises EOFError when the file lacks its end marker."""
    with open(path, "rb") as source:
        source.seek(max(-len(BGZF_END), -path.stat().st_size), 2)
        if source.read() != BGZF_END:
            raise EOFError("the end marker that bgzip writes is missing")
        source.seek(0)
        members: list[memoryview] = []
        rest = b""
        while piece := source.read(_PIECE):
            data, start = rest + piece, 0
            while len(data) - start >= _BGZF_HEADER:
                if data[start : start + 2] != GZIP_MAGIC or data[start + 12 : start + 14] != b"BC":
                    raise gzip.BadGzipFile("something else follows a bgzip block")
                end = start + int.from_bytes(data[start + 16 : start + 18], "little") + 1
                if end > len(data):
                    break
                members.append(memoryview(data)[start:end])
                start = end
                if len(members) == _MEMBERS:
                    yield members
                    members = []
            rest = data[start:]
        if rest:
            raise EOFError("the last block is cut")
        yield members
