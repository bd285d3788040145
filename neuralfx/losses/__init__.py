"""Training losses by the names that a configuration uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from neuralfx.errors import ConfigError
from neuralfx.losses.esr import ESRLoss
from neuralfx.losses.mrstft import MultiResolutionSTFTLoss

LOSSES: dict[str, type[nn.Module]] = {
    "mse": nn.MSELoss,
    "l1": nn.L1Loss,
    "esr": ESRLoss,
    "mrstft": MultiResolutionSTFTLoss,
}

__all__ = ["LOSSES", "ESRLoss", "MultiResolutionSTFTLoss", "WeightedSum"]


class WeightedSum(nn.Module):
    """Weighted sum of losses, described by plain data.

    Args:
        terms: Weight by name of the loss, or a mapping with the key ``weight`` and arguments of the loss:
            ``{"l1": 1.0, "mrstft": {"weight": 0.5, "fft_sizes": [128, 512, 2048]}}``.

    Raises:
        ConfigError: If a name, a weight or an argument is unknown.

    Example:
        >>> import torch
        >>> WeightedSum({"mse": 2.0})(torch.ones(1, 1, 4), torch.zeros(1, 1, 4))
        tensor(2.)
    """

    def __init__(self, terms: Mapping[str, Any]) -> None:
        super().__init__()
        if not terms:
            raise ConfigError(f"losses: expected at least one of {', '.join(LOSSES)}, got none.")
        self.weights: dict[str, float] = {}
        self.terms = nn.ModuleDict()
        for name, setting in terms.items():
            if name not in LOSSES:
                raise ConfigError(f"losses: expected names among {', '.join(LOSSES)}, got {name!r}.")
            arguments = dict(setting) if isinstance(setting, Mapping) else {"weight": setting}
            self.weights[name] = float(arguments.pop("weight", 1.0))
            try:
                self.terms[name] = LOSSES[name](**arguments)
            except TypeError as error:
                raise ConfigError(f"losses: {name} does not take these arguments: {error}.") from None

    def forward(self, estimate: Tensor, target: Tensor) -> Tensor:
        """Loss of signals of shape (batch, channels, time), a scalar."""
        terms = [self.weights[name] * term(estimate, target) for name, term in self.terms.items()]
        total: Tensor = terms[0]
        for term in terms[1:]:
            total = total + term
        return total
