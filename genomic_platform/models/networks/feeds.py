"""Inputs of lines by the batch, with the whole table on the device: no Dataset, no DataLoader, no worker.

Decoded when it fits, else packed calls, two bits each, unpacked on the device as a batch needs them. torch is imported
here: import this module inside functions. Axes: N lines, B of a batch, M markers, R inputs, C = ceil(M / 4) bytes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from genomic_platform.genotypes import packing
from genomic_platform.genotypes.device import unpacked
from genomic_platform.genotypes.table import GenotypeTable

#: Lines whose decoded calls are held at a time while they are packed by line.
PACKED_LINES = 1024


class Feed(Protocol):
    """Inputs of N lines on a device."""

    n_lines: int
    n_inputs: int
    device: torch.device

    def batch(self, rows_B: Tensor) -> Tensor:
        """Inputs (B, R) of lines by position."""
        ...

    def in_bf16(self) -> Feed:
        """The same for products in bfloat16: what is kept decoded takes half the memory and is not rounded again."""
        ...


class DenseFeed:
    """Inputs kept decoded on the device, float32 (N, R)."""

    def __init__(self, x_NR: np.ndarray, device: torch.device) -> None:
        self.x_NR = torch.from_numpy(np.array(x_NR, dtype=np.float32, order="C")).to(device)
        self.n_lines, self.n_inputs = self.x_NR.shape
        self.device = device

    def batch(self, rows_B: Tensor) -> Tensor:
        return self.x_NR.index_select(0, rows_B)

    def in_bf16(self) -> DenseFeed:
        half = copy.copy(self)
        half.x_NR = self.x_NR.bfloat16()
        return half


class PackedFeed:
    """Calls kept packed by line, uint8 (N, C), on the device; a batch is unpacked there to (x − 2p) / √scale.

    Parameters
    ----------
    packed_NC : as `packed_by_line`. frequencies_M, scale : of the relationship; a missing call is 0.
    host : keep the packed calls in the host's memory, where they are too many even packed.
    """

    def __init__(self, packed_NC: np.ndarray, frequencies_M: np.ndarray, scale: float, device: torch.device,
                 host: bool = False) -> None:
        self.packed_NC = torch.from_numpy(np.array(packed_NC)).to("cpu" if host else device)
        self.n_lines, self.n_inputs = len(packed_NC), len(frequencies_M)
        self.device = device
        unit = 1 / np.sqrt(scale)
        self.unit = float(unit)
        self.mean_M = torch.from_numpy((2 * frequencies_M * unit).astype(np.float32)).to(device)
        self.dosage_14 = np.array([[2, packing.MISSING, 1, 0]], dtype=np.int8)

    def batch(self, rows_B: Tensor) -> Tensor:
        packed_BC = self.packed_NC.index_select(0, rows_B.to(self.packed_NC.device)).to(self.device)
        dosage_BM = unpacked(packed_BC, np.broadcast_to(self.dosage_14, (len(rows_B), 4)), str(self.device))
        dosage_BM = dosage_BM[:, : self.n_inputs]
        return torch.addcmul(-self.mean_M, dosage_BM.float(), torch.tensor(self.unit, device=self.device)).masked_fill_(
            dosage_BM < 0, 0.0)

    def in_bf16(self) -> PackedFeed:
        return self


class CellFeed:
    """Inputs of lines in environments: the line's, less their mean over the environment's lines, and its covariates.

    Lines and environments are kept once each. Parameters: lines : inputs of lines. line_N, environment_N : each cell's
    line and environment. w_EW : covariates.
    """

    def __init__(self, lines: Feed, line_N: np.ndarray, environment_N: np.ndarray, w_EW: np.ndarray) -> None:
        self.lines, self.device, self.n_lines = lines, lines.device, len(line_N)
        self.n_inputs = lines.n_inputs + w_EW.shape[1]
        self.line_N = torch.from_numpy(line_N.astype(np.int64)).to(self.device)
        self.environment_N = torch.from_numpy(environment_N.astype(np.int64)).to(self.device)
        self.w_EW = torch.from_numpy(w_EW.astype(np.float32)).to(self.device)
        self.centre_ER = torch.zeros(len(w_EW), lines.n_inputs, device=self.device)
        for rows_B in batches(self, PACKED_LINES):
            member_EB = torch.nn.functional.one_hot(self.environment_N[rows_B], len(w_EW)).T.float()
            self.centre_ER += member_EB @ lines.batch(self.line_N[rows_B])
        self.centre_ER /= torch.bincount(self.environment_N, minlength=len(w_EW)).clamp(min=1)[:, None]

    def batch(self, rows_B: Tensor) -> Tensor:
        environment_B = self.environment_N[rows_B]
        z_BR = self.lines.batch(self.line_N[rows_B]) - self.centre_ER[environment_B]
        return torch.cat([z_BR, self.w_EW[environment_B]], dim=1)

    def in_bf16(self) -> CellFeed:
        half = copy.copy(self)
        half.lines = self.lines.in_bf16()
        return half


def packed_by_line(table: GenotypeTable, rows_N: np.ndarray) -> np.ndarray:
    """Calls of some lines packed along the markers, uint8 (N, C): a line's calls lie together."""
    packed_NC = np.empty((len(rows_N), packing.n_bytes(table.n_variants)), dtype=np.uint8)
    for start in range(0, len(rows_N), PACKED_LINES):
        lines = [table.lines[row] for row in rows_N[start : start + PACKED_LINES]]
        packed_NC[start : start + PACKED_LINES] = packing.pack(np.ascontiguousarray(table.dosages(lines=lines)))
    return packed_NC


def marker_feed(table: GenotypeTable, rows_N: np.ndarray, frequencies_M: np.ndarray, scale: float,
                device: torch.device, resident_bytes: int) -> Feed:
    """Standardised dosages of some lines: decoded on the device if float32 takes at most `resident_bytes`, else packed
    there, else packed in the host's memory."""
    packed_NC = packed_by_line(table, rows_N)
    packed = PackedFeed(packed_NC, frequencies_M, scale, device, host=packed_NC.nbytes > resident_bytes)
    if 4 * len(rows_N) * table.n_variants > resident_bytes:
        return packed
    whole = torch.cat([packed.batch(rows_B) for rows_B in batches(packed, PACKED_LINES)])
    return DenseFeed(whole.cpu().numpy(), device)


def batches(feed: Feed, size: int, order_N: Tensor | None = None) -> Iterator[Tensor]:
    """Positions of all lines, `size` at a time, in the order given."""
    order_N = torch.arange(feed.n_lines) if order_N is None else order_N
    yield from order_N.to(feed.device).split(size)
