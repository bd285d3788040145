"""Multi-resolution short-time Fourier transform loss."""

from __future__ import annotations

from collections.abc import Sequence

import auraloss
from torch import Tensor, nn


class MultiResolutionSTFTLoss(nn.Module):
    """Spectral convergence plus log-magnitude distance, averaged over several window lengths, by auraloss.

    Args:
        fft_sizes: Window lengths in samples; each hops by a quarter of itself. The default is paper 2's.

    Reference:
        Yamamoto et al., "Parallel WaveGAN", ICASSP 2020, eqs. (4) to (6).
    """

    def __init__(self, fft_sizes: Sequence[int] = (128, 512, 2048)) -> None:
        super().__init__()
        self.loss = auraloss.freq.MultiResolutionSTFTLoss(
            fft_sizes=list(fft_sizes), win_lengths=list(fft_sizes), hop_sizes=[size // 4 for size in fft_sizes]
        )

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Loss of signals of shape (batch, channels, time), a scalar."""
        loss: Tensor = self.loss(estimate, target)
        return loss
