"""Diagonal state space layer (S4D) with complex poles, evaluated in chunks with a carried state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralfx.errors import ConfigError
from neuralfx.nn.diagonal import carry, precise, run_in_chunks, toeplitz
from neuralfx.nn.operations import Operations, add_operations, linear_operations
from neuralfx.nn.time_constants import spread_time_constants

if TYPE_CHECKING:
    import numpy.typing as npt


POLES = ("decay", "lin", "inv", "legs")


class S4D(nn.Module):
    r"""One single-input single-output diagonal state space system per feature, along time.

    Each feature h has K stored complex states, half of conjugate pairs:

    .. math::
        s_{hk}[n] = \bar A_{hk} s_{hk}[n-1] + \bar B_{hk} u_h[n], \qquad
        v_h[n] = 2 \operatorname{Re} \sum_k C_{hk} s_{hk}[n] + D_h u_h[n]

        \bar A_{hk} = e^{\Delta_h a_{hk}}, \qquad \bar B_{hk} = \frac{e^{\Delta_h a_{hk}} - 1}{a_{hk}} B_{hk}, \qquad
        a_{hk} = e^{\alpha_{hk}} (-1 + i \omega_{hk}), \qquad B_{hk} = e^{\alpha_{hk}}

    (zero-order hold). All poles are stable for all values of the parameters. Where we depart from the S4D paper:
    :math:`\omega` is relative to the decay rate, so that slow poles can learn at the same rate as fast ones; B is the
    decay rate instead of 1, so that every state has unit gain at its own frequency; and time constants start spread
    evenly in the logarithm over ``shortest_samples`` to ``longest_samples``, because audio devices remember for
    milliseconds to seconds, not for the few samples of the sequence-modelling literature. By default they are spread
    over all states, and the poles start on the real axis. The literature's poles are at hand: all states of a feature
    then share one time constant, and differ in frequency.

    The poles' powers, and the state, are double precision on every device that has it: a pole with a time constant of
    seconds lies within float32's rounding of 1.

    Args:
        features: Features in and out, H.
        pairs: Conjugate pairs per feature, K.
        shortest_samples: Shortest initial time constant, in samples.
        longest_samples: Longest initial time constant, in samples.
        poles: Where the poles start: ``decay``, ours; or those of S4D-Lin, S4D-Inv and S4D-LegS as ``lin``, ``inv`` and
            ``legs``.
        mixing: Whether GELU, a linear layer and a gated linear unit follow, as in the blocks of the S4D paper.

    Raises:
        ConfigError: If ``poles`` is none of these, or the time constants are no range.

    Reference:
        Gu et al., "On the Parameterization and Initialization of Diagonal State Space Models", NeurIPS 2022,
        sections 3 and 4.
    """

    def __init__(
        self,
        features: int,
        pairs: int,
        shortest_samples: float,
        longest_samples: float,
        poles: str = "decay",
        mixing: bool = False,
    ) -> None:
        super().__init__()
        if poles not in POLES:
            raise ConfigError(f"poles: expected one of {', '.join(POLES)}, got {poles!r}.")
        self.features = features
        self.pairs = pairs
        if poles == "decay":
            # Neighbouring time constants go to different features, so that every feature spans the whole range.
            time_constants = spread_time_constants(shortest_samples, longest_samples, features * pairs)
            time_constants = time_constants.view(pairs, features).T
            log_step, log_decay = torch.zeros(features), -torch.log(time_constants)
            frequency = torch.zeros(features, pairs)
        else:
            # Re a = -1/2 and the imaginary part as published, here relative to the real one.
            log_step = -torch.log(spread_time_constants(shortest_samples, longest_samples, features) / 2)
            log_decay = torch.full((features, pairs), math.log(0.5))
            frequency = 2 * published_frequencies(poles, pairs).to(log_step.device).repeat(features, 1)
        self.log_step = nn.Parameter(log_step)  # log Delta, in log samples
        self.log_decay = nn.Parameter(log_decay.contiguous())  # alpha
        self.frequency = nn.Parameter(frequency)  # omega
        self.output_real = nn.Parameter(torch.randn(features, pairs) * math.sqrt(0.5 / pairs))  # Re C
        self.output_imag = nn.Parameter(torch.randn(features, pairs) * math.sqrt(0.5 / pairs))  # Im C
        self.direct = nn.Parameter(torch.ones(features))  # D
        self.mixing = nn.Linear(features, 2 * features) if mixing else None

    def initial_state(self, batch_size: int, device: torch.device | None, dtype: torch.dtype) -> Tensor:
        """Zeros of shape (batch, features, pairs), complex."""
        del dtype  # the state is as precise as the device allows, whatever the audio is
        return torch.zeros(batch_size, self.features, self.pairs, device=device, dtype=precise(device).to_complex())

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run (batch, time, features) into the same shape; ``state`` has shape (batch, features, pairs)."""
        output, state = run_in_chunks(self._run_chunks, features, state)
        output = output + self.direct * features
        if self.mixing is not None:
            output = functional.glu(self.mixing(functional.gelu(output)))
        return output, state

    def packed(self) -> tuple[npt.NDArray[Any], ...]:
        """Poles, gains B bar and readouts C of shape (features, pairs), and D, as the compiled network takes them."""
        exponent, relative, readout = self._exactly(torch.float64)
        parts = torch.exp(exponent), torch.expm1(exponent) / relative, readout, self.direct
        return tuple(part.detach().cpu().numpy() for part in parts)

    def operations(self) -> Operations:
        """Those of one sample; what the parameters alone determine is computed once."""
        # Per pair: A s is a complex product, B u a real times a complex number, and C s only needs its real part.
        pair = Operations(4 + 2 + 2, 2 + 2 + 1)
        # Per feature: the sum over the pairs, its factor of 2, and D u.
        multiplications = self.pairs * pair.multiplications + 2
        additions = self.pairs * pair.additions + self.pairs - 1 + 1
        recurrence = Operations(self.features * multiplications, self.features * additions)
        if self.mixing is None:
            return recurrence
        gates = Operations(self.features, 0, 2 * self.features)  # GELU, sigmoid and its product
        return add_operations(recurrence, linear_operations(self.mixing), gates)

    def _exactly(self, exact: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Delta a, a relative to the decay rate, and C, each of shape (features, pairs)."""
        decay = torch.exp(self.log_step.to(exact).unsqueeze(-1) + self.log_decay.to(exact))
        relative = torch.complex(-torch.ones_like(decay), self.frequency.to(exact))
        readout = torch.complex(self.output_real.to(exact), self.output_imag.to(exact))
        return decay * relative, relative, readout

    def _run_chunks(self, features: Tensor, state: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Recur over whole chunks of ``length`` samples, without the direct path.

        Inside a chunk the recurrence is one product with a triangular Toeplitz matrix; from chunk to chunk only the
        states move, by the pole to the power of the length.
        """
        batch_size, time, width = features.shape
        chunks = time // length
        exact, plain = precise(features.device), features.dtype

        # exp of the exponent, not repeated products: the pole itself is never rounded.
        exponent, relative, readout = self._exactly(exact)
        steps = torch.arange(length + 1, device=features.device, dtype=exact)
        powers = torch.exp(exponent.unsqueeze(-1) * steps)  # (features, pairs, length + 1)
        gain = (powers[..., 1] - 1) / relative  # B bar

        kernel = 2 * ((readout * gain).unsqueeze(-1) * powers[..., :length]).sum(1).real  # (features, length)
        within = toeplitz(kernel).to(plain)
        into_state = torch.view_as_real(
            gain.unsqueeze(-1) * powers[..., :length].flip(-1)
        )  # (features, pairs, length, 2)
        into_state = into_state.transpose(1, 2).reshape(width, length, 2 * self.pairs).to(plain)
        from_state = readout.unsqueeze(-1) * powers[..., 1:]
        from_state = torch.stack([2 * from_state.real, -2 * from_state.imag], dim=2)
        from_state = from_state.reshape(width, 2 * self.pairs, length).to(plain)

        blocks = features.reshape(batch_size, chunks, length, width).permute(3, 0, 1, 2)
        blocks = blocks.reshape(width, batch_size * chunks, length)
        added = torch.bmm(blocks, into_state).view(width, batch_size, chunks, self.pairs, 2).permute(1, 2, 0, 3, 4)
        states = carry(torch.view_as_complex(added.to(exact).contiguous()), exponent * length, state)
        before = torch.view_as_real(states[:, :-1]).permute(2, 0, 1, 3, 4)
        before = before.reshape(width, batch_size * chunks, 2 * self.pairs).to(plain)
        output = torch.baddbmm(torch.bmm(blocks, within), before, from_state)
        output = output.view(width, batch_size, chunks, length).permute(1, 2, 3, 0).reshape(batch_size, time, width)
        return output, states[:, -1]


def published_frequencies(poles: str, pairs: int) -> Tensor:
    r"""Imaginary parts of the poles with which S4D layers of the literature start, their real parts being -1/2.

    With N = 2 ``pairs``: :math:`\pi k` (``lin``), :math:`\frac{N}{\pi} (\frac{N}{2k+1} - 1)` (``inv``), or those of the
    normal part of the HiPPO-LegS matrix (``legs``).

    Args:
        poles: ``lin``, ``inv`` or ``legs``.
        pairs: Conjugate pairs, at least 1.

    Returns:
        Shape (pairs,).

    Reference:
        Gu et al., "On the Parameterization and Initialization of Diagonal State Space Models", NeurIPS 2022,
        eqs. (6), (8) and (9).
    """
    size = 2 * pairs
    order = torch.arange(pairs, dtype=torch.float64)
    if poles == "lin":
        frequencies = math.pi * order
    elif poles == "inv":
        frequencies = size / math.pi * (size / (2 * order + 1) - 1)
    else:
        root = np.sqrt(np.arange(size) + 0.5)
        normal = -np.tril(np.outer(root, root), -1) + np.triu(np.outer(root, root), 1)  # without its diagonal, -1/2
        frequencies = torch.from_numpy(np.linalg.eigvalsh(-1j * normal)[pairs:].copy())
    return frequencies.to(torch.get_default_dtype())
