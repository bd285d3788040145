"""Multi-resolution short-time Fourier transform loss."""

from __future__ import annotations

from collections.abc import Sequence

import auraloss
from torch import Tensor, nn

from neuralfx.errors import ConfigError


class MultiResolutionSTFTLoss(nn.Module):
    """Spectral convergence plus log-magnitude distance, averaged over several window lengths, by auraloss.

    Args:
        fft_sizes: Window lengths in samples; each hops by a quarter of itself. The default is paper 2's.

    Reference:
        Yamamoto et al., "Parallel WaveGAN", ICASSP 2020, eqs. (4) to (6).
    """

    def __init__(self, fft_sizes: Sequence[int] = (128, 512, 2048)) -> None:
        super().__init__()
        self.least_samples = max(fft_sizes) // 2 + 1  # half a window is mirrored at both ends
        self.loss = auraloss.freq.MultiResolutionSTFTLoss(
            fft_sizes=list(fft_sizes), win_lengths=list(fft_sizes), hop_sizes=[size // 4 for size in fft_sizes]
        )

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Loss of signals of shape (batch, channels, time), a scalar.

        Raises:
            ConfigError: If the signals are shorter than half of the longest window.
        """
        if estimate.shape[-1] < self.least_samples:
            raise ConfigError(
                f"mrstft: expected segments of at least {self.least_samples} samples for its longest window, got "
                f"{estimate.shape[-1]}; set data.segment_samples or the loss's fft_sizes."
            )
        loss: Tensor = self.loss(estimate, target)
        return loss
