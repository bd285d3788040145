"""Error-to-signal ratio as a loss."""

from __future__ import annotations

from torch import Tensor, nn

from neuralfx.metrics.esr import error_to_signal_ratio


class ESRLoss(nn.Module):
    r"""Error-to-signal ratio of each segment, averaged, after an optional first-order pre-emphasis.

    .. math:: y'_t = y_t - c\, y_{t-1}

    Args:
        pre_emphasis: Coefficient c from 0 (none) to 1; 0.85 and 0.95 are common.
        eps: Added to the energy of the target, in mean squared amplitude, so that near-silent segments do not dominate.

    Reference:
        Wright et al., "Real-Time Guitar Amplifier Emulation with Deep Learning", Appl. Sci. 10(3), 2020,
        eqs. (9) and (10).
    """

    def __init__(self, pre_emphasis: float = 0.0, eps: float = 1e-5) -> None:
        super().__init__()
        self.pre_emphasis = pre_emphasis
        self.eps = eps

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Loss of signals of shape (batch, channels, time), a scalar."""
        if self.pre_emphasis:
            estimate, target = (signal[..., 1:] - self.pre_emphasis * signal[..., :-1] for signal in (estimate, target))
        return error_to_signal_ratio(estimate, target, eps=self.eps * target.shape[-1]).mean()
