"""Linear recurrent unit (LRU): complex poles, dense in and out, evaluated in chunks with a carried state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neuralfx.nn.diagonal import carry, precise, run_in_chunks, toeplitz
from neuralfx.nn.operations import Operations, add_operations
from neuralfx.nn.time_constants import spread_time_constants

if TYPE_CHECKING:
    import numpy.typing as npt


class LRU(nn.Module):
    r"""Linear recurrence with a diagonal complex transition, from all features to all features.

    .. math::
        s[n] = \lambda \odot s[n-1] + \gamma \odot B u[n], \qquad v[n] = \operatorname{Re}(C s[n]) + D \odot u[n]

        \lambda_j = e^{-e^{\nu_j} + i e^{\theta_j}}, \qquad \gamma_j = \sqrt{1 - |\lambda_j|^2} \text{ at the start}

    with N complex states that are no conjugate pairs. All poles are stable for all values of the parameters.
    :math:`\gamma` gives a state unit variance for white noise of unit variance; its logarithm is trained.

    Where we depart from the LRU paper: the radii start from time constants spread evenly in the logarithm over
    ``shortest_samples`` to ``longest_samples``, not evenly over the area of a ring. For 0.1 ms to 1 s at 48 kHz, half
    of the ring's area is poles that forget within 0.22 ms. The phases start below ``max_phase`` and below the pole's
    own rate of decay, not anywhere on the circle: a slow pole that turns faster than it decays is a narrow resonance,
    and devices remember the level of the audio, not single frequencies.

    The poles' powers, and the state, are double precision on every device that has it: a pole with a time constant of
    seconds lies within float32's rounding of 1.

    Args:
        features: Features in and out, H.
        state_size: Complex states, N.
        shortest_samples: Shortest initial time constant, in samples.
        longest_samples: Longest initial time constant, in samples.
        max_phase: Largest initial phase of a pole, in radians per sample, above 0.

    Raises:
        ConfigError: If the time constants are no range.

    Reference:
        Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", ICML 2023, section 3.
    """

    def __init__(
        self,
        features: int,
        state_size: int,
        shortest_samples: float,
        longest_samples: float,
        max_phase: float = math.pi / 10,
    ) -> None:
        super().__init__()
        self.features = features
        self.state_size = state_size
        log_decay = -torch.log(spread_time_constants(shortest_samples, longest_samples, state_size))
        phase = torch.exp(log_decay).clamp(max=max_phase) * (1 - torch.rand(state_size))  # above 0
        self.log_decay = nn.Parameter(log_decay)  # nu
        self.log_phase = nn.Parameter(torch.log(phase))  # theta
        # 1 - |lambda|^2 by expm1: the difference loses float32's digits for slow poles.
        self.gamma_log = nn.Parameter(0.5 * torch.log(-torch.expm1(-2 * torch.exp(log_decay))))
        self.input_real = nn.Parameter(torch.randn(state_size, features) / math.sqrt(2 * features))  # Re B
        self.input_imag = nn.Parameter(torch.randn(state_size, features) / math.sqrt(2 * features))  # Im B
        self.output_real = nn.Parameter(torch.randn(features, state_size) / math.sqrt(state_size))  # Re C
        self.output_imag = nn.Parameter(torch.randn(features, state_size) / math.sqrt(state_size))  # Im C
        self.direct = nn.Parameter(torch.randn(features))  # D

    def initial_state(self, batch_size: int, device: torch.device | None, dtype: torch.dtype) -> Tensor:
        """Zeros of shape (batch, state_size), complex."""
        del dtype  # the state is as precise as the device allows, whatever the audio is
        return torch.zeros(batch_size, self.state_size, device=device, dtype=precise(device).to_complex())

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run (batch, time, features) into the same shape; ``state`` has shape (batch, state_size)."""
        output, state = run_in_chunks(self._run_chunks, features, state)
        return output + self.direct * features, state

    def packed(self) -> tuple[npt.NDArray[Any], ...]:
        """Poles, gamma B, C and D, as the compiled network takes them."""
        exponent, into, readout = self._exactly(torch.float64)
        return tuple(part.detach().cpu().numpy() for part in (torch.exp(exponent), into, readout, self.direct))

    def operations(self) -> Operations:
        """Those of one sample; what the parameters alone determine is computed once, gamma as a part of B."""
        states, width = self.state_size, self.features
        transition = Operations(4 * states, 2 * states)  # lambda s
        into = Operations(2 * states * width, 2 * states * width)  # B u, added to it
        out = Operations(2 * width * states, width * (2 * states - 1))  # Re(C s)
        return add_operations(transition, into, out, Operations(width, width))  # D u

    def _exactly(self, exact: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Logarithms of the poles (states,), gamma B (states, features) and C (features, states)."""
        exponent = torch.complex(-torch.exp(self.log_decay.to(exact)), torch.exp(self.log_phase.to(exact)))
        gain = torch.exp(self.gamma_log.to(exact)).unsqueeze(-1)
        into = gain * torch.complex(self.input_real.to(exact), self.input_imag.to(exact))
        return exponent, into, torch.complex(self.output_real.to(exact), self.output_imag.to(exact))

    def _run_chunks(self, features: Tensor, state: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Recur over whole chunks of ``length`` samples, without the direct path.

        Inside a chunk the recurrence is one product with a real block Toeplitz matrix; from chunk to chunk only the
        states move, by the pole to the power of the length.
        """
        batch_size, time, width = features.shape
        chunks = time // length
        exact, plain = precise(features.device), features.dtype

        # exp of the exponent, not repeated products: the pole itself is never rounded.
        exponent, into, readout = self._exactly(exact)
        steps = torch.arange(length + 1, device=features.device, dtype=exact)
        powers = torch.exp(exponent.unsqueeze(-1) * steps)  # (states, length + 1)

        # kernel: real part of C lambda^l gamma B, shape (features in, features out, length)
        paths = into.T.unsqueeze(1) * readout  # (features in, features out, states)
        kernel = paths.real @ powers.real[:, :length] - paths.imag @ powers.imag[:, :length]
        within = toeplitz(kernel).permute(2, 0, 3, 1).reshape(length * width, length * width).to(plain)
        into_state = powers[:, :length].flip(-1).T.unsqueeze(1) * into.T  # (length, features, states)
        into_state = torch.view_as_real(into_state).reshape(length * width, 2 * self.state_size).to(plain)
        from_state = powers[:, 1:].unsqueeze(-1) * readout.T.unsqueeze(1)  # (states, length, features)
        from_state = torch.stack([from_state.real, -from_state.imag], dim=1)
        from_state = from_state.reshape(2 * self.state_size, length * width).to(plain)

        blocks = features.reshape(batch_size * chunks, length * width)
        added = (blocks @ into_state).view(batch_size, chunks, self.state_size, 2).to(exact)
        states = carry(torch.view_as_complex(added), exponent * length, state)
        before = torch.view_as_real(states[:, :-1]).reshape(batch_size * chunks, 2 * self.state_size).to(plain)
        output = torch.addmm(blocks @ within, before, from_state)
        return output.view(batch_size, time, width), states[:, -1]
