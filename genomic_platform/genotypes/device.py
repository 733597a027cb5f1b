"""Products over packed calls with torch: on a graphics card, and int8 on a CPU without the instruction for it.

Packed calls travel to the device and are unpacked there; only a block of them, and the result, are held at a time.
`cross_product.py` and `integer_product.py` give the same numbers without torch, which is imported inside functions.
Axes: N lines, M variants, m variants of a block, B = ceil(N / 4) bytes, L right-hand sides; Z is (M, N).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from genomic_platform.genotypes.kinship.cross_product import bands, block_size, decoded, mirrored
from genomic_platform.genotypes.kinship.integer_product import centred, integer_coding, integer_parts
from genomic_platform.genotypes.parallel import in_order
from genomic_platform.genotypes.table import GenotypeTable

if TYPE_CHECKING:
    import torch

_INTEGER_VARIANTS = 100_000  # int32 holds 127² × 133,000


def torch_device(device: str) -> torch.device:
    """`cpu`, `cuda` or `cuda:1`. Raises ValueError when there is no such device."""
    import torch

    if device.split(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"device is {device!r}; expected cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but torch finds no CUDA device here; use cpu")
    return torch.device(device)


def to_device_dosages(packed_mB: np.ndarray, n_lines: int, device: str = "cpu") -> torch.Tensor:
    """Dosages int8 (m, n_lines) on the device, −1 missing: a quarter of a byte a call crosses, not one."""
    dosage_m4 = np.broadcast_to(np.array([2, -1, 1, 0], dtype=np.int8), (len(packed_mB), 4))
    return unpacked(packed_mB, dosage_m4, device)[:, :n_lines]


def unpacked(packed_mB: np.ndarray | torch.Tensor, value_m4: np.ndarray, device: str) -> torch.Tensor:
    """The numbers that calls stand for, (m, 4 B) of the dtype of `value_m4`, unpacked on the device by shifts.

    The columns past the last line hold the number of code 00. Packed calls that are on the device already stay there.
    """
    import torch

    where = torch_device(device)
    if isinstance(packed_mB, np.ndarray):
        packed_mB = torch.from_numpy(np.array(packed_mB))  # a copy: torch wants it writable
    packed = packed_mB.to(where)[:, :, None]
    code = ((packed >> torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=where)) & 3).flatten(1)
    value = torch.from_numpy(np.array(value_m4)).to(where)
    z = value[:, 3:].expand(code.shape)
    for k in (0, 1, 2):
        z = torch.where(code == k, value[:, k : k + 1], z)
    return z


def integer_product(table: GenotypeTable, p_M: np.ndarray, device: str) -> np.ndarray:
    """`integer_product.integer_product` on the device, or on any CPU: int8 products summed in int32, then float64."""
    import torch

    code_M4, unit_M, t_M = integer_coding(p_M)
    n, where = table.n_lines, torch_device(device)
    product_NN = torch.zeros((n, n), dtype=torch.float64, device=where)
    most = block_size(n, 1, _INTEGER_VARIANTS)
    for unit, packed_mB, code_m4 in integer_parts(table, code_M4, unit_M, most):
        c_mN = _tensor(packed_mB, code_m4, n, device)
        for start, stop in bands(n):
            wide = min(c_mN.shape[1], -(-stop // 8) * 8)  # a card's int8 product wants multiples of eight
            band_RN = getattr(torch, "_int_mm")(c_mN[:, start:stop].t(), c_mN[:, :wide])  # noqa: B009 (no public name)
            product_NN[start:stop, :stop].add_(band_RN[:, :stop].double(), alpha=unit**-2)
    return centred(product_NN.cpu().numpy(), table, code_M4, unit_M, t_M)


def self_product(table: GenotypeTable, value_M4: np.ndarray, device: str) -> np.ndarray:
    """`cross_product.self_product` on the device: float32 products of blocks, summed there in float64."""
    import torch

    n = table.n_lines
    product_NN = torch.zeros((n, n), dtype=torch.float64, device=torch_device(device))
    for z_mN in _blocks(table, value_M4.astype(np.float32), device):
        for start, stop in bands(n):
            product_NN[start:stop, :stop] += z_mN[:, start:stop].t() @ z_mN[:, :stop]
    return mirrored(product_NN.cpu().numpy())


def gram_times(table: GenotypeTable, value_M4: np.ndarray, right_NL: np.ndarray, device: str) -> np.ndarray:
    """`cross_product.gram_times` on the device."""
    import torch

    right = torch.from_numpy(right_NL.astype(np.float32)).to(torch_device(device))
    total_NL = torch.zeros(right.shape, dtype=torch.float64, device=right.device)
    for z_mN in _blocks(table, value_M4.astype(np.float32), device):
        z_mN = z_mN[:, : table.n_lines]
        total_NL += z_mN.t() @ (z_mN @ right)
    return total_NL.cpu().numpy()


class ResidentGram:
    """`gram_times` again and again: packed calls go to the device once and stay there, unpacked `batch` variants at a
    time; what crosses in a call is the right-hand side and the result."""

    def __init__(self, table: GenotypeTable, value_M4: np.ndarray, device: str, batch: int) -> None:
        import torch

        self._n, self._device, where = table.n_lines, device, torch_device(device)
        self._blocks = [(torch.from_numpy(np.array(packed_mB)).to(where),
                         value_M4[start : start + len(packed_mB)].astype(np.float32))
                        for start, packed_mB in table.packed_blocks(batch)]

    def __call__(self, right_NL: np.ndarray) -> np.ndarray:
        """Z'(Z right), float64 (N, L): float32 products of blocks, summed on the device in float64."""
        import torch

        right = torch.from_numpy(right_NL.astype(np.float32)).to(torch_device(self._device))
        total_NL = torch.zeros(right.shape, dtype=torch.float64, device=right.device)
        for packed_mB, value_m4 in self._blocks:
            z_mN = unpacked(packed_mB, value_m4, self._device)[:, : self._n]
            total_NL += z_mN.t() @ (z_mN @ right)
        return total_NL.cpu().numpy()


def _blocks(table: GenotypeTable, value_M4: np.ndarray, device: str) -> Iterator[torch.Tensor]:
    """`_tensor` of each block of the table, the next one made meanwhile."""
    def work(block: tuple[int, np.ndarray]) -> torch.Tensor:
        start, packed_mB = block
        return _tensor(packed_mB, value_M4[start : start + len(packed_mB)], table.n_lines, device)

    yield from in_order(work, table.packed_blocks(block_size(table.n_lines)), threads=1)


def _tensor(packed_mB: np.ndarray, value_m4: np.ndarray, n_lines: int, device: str) -> torch.Tensor:
    """What calls stand for, on the device; on a card padded with zeros to a multiple of eight variants and lines."""
    import torch

    if torch_device(device).type == "cpu":
        return torch.from_numpy(decoded(packed_mB, value_m4, n_lines))
    variants = -len(packed_mB) % 8
    padded_mB = np.pad(packed_mB, ((0, variants), (0, packed_mB.shape[1] % 2)))
    return unpacked(padded_mB, np.pad(value_m4, ((0, variants), (0, 0))), device)
