"""The non-linear branches: modules from inputs to the values of every member of the ensemble.

A branch is a layer of cosine features, started as random Fourier features of a Gaussian kernel, and a linear head
started at zero; both learn. All members are trained in one matrix product. torch is imported here: import this
module inside functions. Reference: Rahimi & Recht 2007, NeurIPS 20.
Axes: B lines, R inputs, W covariates, A members, H features of a member, F = A × H, T traits; L windows of W markers.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn


class DenseBranch(nn.Module):
    """Every feature sees every input: √(2 / H) cos(x w + b), w ~ N(0, 2 / θ), b ~ U(0, 2π)."""

    def __init__(self, n_inputs: int, n_members: int, n_features: int, n_traits: int, bandwidth: float,
                 generator: torch.Generator) -> None:
        super().__init__()
        n = n_members * n_features
        weight_RF = torch.randn(n_inputs, n, generator=generator) * math.sqrt(2 / bandwidth)
        self.weight_RF = nn.Parameter(weight_RF)
        self.phase_F = nn.Parameter(2 * math.pi * torch.rand(n, generator=generator))
        self.head_AHT = nn.Parameter(torch.zeros(n_members, n_features, n_traits))

    def forward(self, x_BR: Tensor) -> Tensor:
        """Values (B, A, T) of inputs (B, R)."""
        n_members, n_features, _ = self.head_AHT.shape
        feature_BF = torch.cos(torch.addmm(self.phase_F, x_BR, self.weight_RF))
        feature_ABH = feature_BF.view(len(x_BR), n_members, n_features).transpose(0, 1)
        return (math.sqrt(2 / n_features) * torch.bmm(feature_ABH, self.head_AHT)).transpose(0, 1)


class WindowBranch(nn.Module):
    """Locally connected: each window of neighbouring markers has features of its own; their outputs are summed.

    Parameters
    ----------
    marker_LW : marker of each place of a window, M = none (chromosomes are padded at their ends).
    spread_L : mean squared distance of two lines within the window, in the inputs' scale.
    bandwidth : multiple of `spread_L` that is the window's θ.
    """

    marker_LW: Tensor

    def __init__(self, marker_LW: np.ndarray, spread_L: np.ndarray, n_members: int, n_features: int, n_traits: int,
                 bandwidth: float, generator: torch.Generator) -> None:
        super().__init__()
        n_windows, width = marker_LW.shape
        theta_L = torch.from_numpy(np.where(spread_L > 0, bandwidth * spread_L, np.inf)).float()
        weight_LWF = torch.randn(n_windows, width, n_members * n_features, generator=generator)
        self.register_buffer("marker_LW", torch.from_numpy(marker_LW.astype(np.int64)), persistent=False)
        self.weight_LWF = nn.Parameter(weight_LWF * (2 / theta_L).sqrt()[:, None, None])
        phase_L1F = 2 * math.pi * torch.rand(n_windows, 1, n_members * n_features, generator=generator)
        self.phase_L1F = nn.Parameter(phase_L1F)
        self.head_AGT = nn.Parameter(torch.zeros(n_members, n_windows * n_features, n_traits))

    def forward(self, x_BM: Tensor) -> Tensor:
        """Values (B, A, T) of standardised dosages (B, M)."""
        n_members, n_pooled, _ = self.head_AGT.shape
        n_windows = len(self.marker_LW)
        padded_BM = nn.functional.pad(x_BM, (0, 1))
        x_LBW = padded_BM[:, self.marker_LW].transpose(0, 1)
        feature_LBF = torch.cos(torch.baddbmm(self.phase_L1F, x_LBW, self.weight_LWF))
        feature_ABG = feature_LBF.view(n_windows, len(x_BM), n_members, -1).permute(2, 1, 0, 3).reshape(
            n_members, len(x_BM), n_pooled)
        return (math.sqrt(2 / n_pooled) * torch.bmm(feature_ABG, self.head_AGT)).transpose(0, 1)


class ReactionBranch(nn.Module):
    """Marker effects that turn with the environment: Σ_h (z a_h) φ_h(w), linear in the line's inputs.

    φ_h = √(2 / H) cos(w c_h + b_h), less its mean over the training environments: what a line does in all of them is
    the skip path's. The features are shared by all traits and start as the random features of a Gaussian kernel Ω,
    c ~ N(0, 2 / θ), b ~ U(0, 2π); the lines' scores a, the heads, start at zero. Before its features have moved the
    branch learns as a kernel K ∘ Ω would, K the lines' relationship.

    Parameters
    ----------
    w_EW : covariates of the training environments.
    """

    w_EW: Tensor

    def __init__(self, n_inputs: int, w_EW: np.ndarray, n_members: int, n_features: int, n_traits: int,
                 bandwidth: float, generator: torch.Generator) -> None:
        super().__init__()
        n = n_members * n_features
        self.register_buffer("w_EW", torch.from_numpy(w_EW.astype(np.float32)), persistent=False)
        weight_WF = torch.randn(w_EW.shape[1], n, generator=generator) * math.sqrt(2 / bandwidth)
        self.weight_WF = nn.Parameter(weight_WF)
        self.phase_F = nn.Parameter(2 * math.pi * torch.rand(n, generator=generator))
        self.head_RAHT = nn.Parameter(torch.zeros(n_inputs, n_members, n_features, n_traits))

    def forward(self, x_BX: Tensor) -> Tensor:
        """Values (B, A, T) of inputs and covariates side by side, (B, R + W)."""
        n_inputs, n_members, n_features, _ = self.head_RAHT.shape
        z_BR, w_BW = x_BX.split([n_inputs, self.w_EW.shape[1]], dim=1)
        feature_BF = self._features(w_BW) - self._features(self.w_EW).mean(dim=0)
        score_BAHT = (z_BR @ self.head_RAHT.flatten(1)).view(len(x_BX), *self.head_RAHT.shape[1:])
        return (feature_BF.view(len(x_BX), n_members, n_features, 1) * score_BAHT).sum(dim=2)

    def _features(self, w_BW: Tensor) -> Tensor:
        _, _, n_features, _ = self.head_RAHT.shape
        return math.sqrt(2 / n_features) * torch.cos(torch.addmm(self.phase_F, w_BW, self.weight_WF))
