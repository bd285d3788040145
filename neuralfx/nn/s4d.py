"""Diagonal state space layer (S4D) with complex poles, evaluated in chunks with a carried state."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neuralfx.nn.diagonal import carry, precise, run_in_chunks, toeplitz
from neuralfx.nn.operations import Operations


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
    decay rate instead of 1, so that every state has unit gain at its own frequency; and the poles start on the real
    axis with time constants spread evenly in the logarithm over ``shortest_samples`` to ``longest_samples``, because
    audio devices remember for milliseconds to seconds, not for the few samples of the sequence-modelling literature.

    The poles' powers, and the state, are double precision on every device that has it: a pole with a time constant of
    seconds lies within float32's rounding of 1.

    Args:
        features: Features in and out, H.
        pairs: Conjugate pairs per feature, K.
        shortest_samples: Shortest initial time constant, in samples.
        longest_samples: Longest initial time constant, in samples.

    Reference:
        Gu et al., "On the Parameterization and Initialization of Diagonal State Space Models", NeurIPS 2022,
        section 3.
    """

    def __init__(self, features: int, pairs: int, shortest_samples: float, longest_samples: float) -> None:
        super().__init__()
        self.features = features
        self.pairs = pairs
        time_constants = torch.logspace(math.log10(shortest_samples), math.log10(longest_samples), features * pairs)
        # Neighbouring time constants go to different features, so that every feature spans the whole range.
        log_decay = -torch.log(time_constants).view(pairs, features).T
        self.log_step = nn.Parameter(torch.zeros(features))  # log Delta, in log samples
        self.log_decay = nn.Parameter(log_decay.contiguous())  # alpha
        self.frequency = nn.Parameter(torch.zeros(features, pairs))  # omega
        self.output_real = nn.Parameter(torch.randn(features, pairs) * math.sqrt(0.5 / pairs))  # Re C
        self.output_imag = nn.Parameter(torch.randn(features, pairs) * math.sqrt(0.5 / pairs))  # Im C
        self.direct = nn.Parameter(torch.ones(features))  # D

    def initial_state(self, batch_size: int, device: torch.device | None, dtype: torch.dtype) -> Tensor:
        """Zeros of shape (batch, features, pairs), complex."""
        del dtype  # the state is as precise as the device allows, whatever the audio is
        return torch.zeros(batch_size, self.features, self.pairs, device=device, dtype=precise(device).to_complex())

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run (batch, time, features) into the same shape; ``state`` has shape (batch, features, pairs)."""
        output, state = run_in_chunks(self._run_chunks, features, state)
        return output + self.direct * features, state

    def operations(self) -> Operations:
        """Those of one sample; what the parameters alone determine is computed once."""
        # Per pair: A s is a complex product, B u a real times a complex number, and C s only needs its real part.
        pair = Operations(4 + 2 + 2, 2 + 2 + 1)
        # Per feature: the sum over the pairs, its factor of 2, and D u.
        multiplications = self.pairs * pair.multiplications + 2
        additions = self.pairs * pair.additions + self.pairs - 1 + 1
        return Operations(self.features * multiplications, self.features * additions)

    def _run_chunks(self, features: Tensor, state: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Recur over whole chunks of ``length`` samples, without the direct path.

        Inside a chunk the recurrence is one product with a triangular Toeplitz matrix; from chunk to chunk only the
        states move, by the pole to the power of the length.
        """
        batch_size, time, width = features.shape
        chunks = time // length
        exact, plain = precise(features.device), features.dtype

        # exp of the exponent, not repeated products: the pole itself is never rounded.
        decay = torch.exp(self.log_step.to(exact).unsqueeze(-1) + self.log_decay.to(exact))
        relative = torch.complex(-torch.ones_like(decay), self.frequency.to(exact))
        exponent = decay * relative  # Delta a, shape (features, pairs)
        steps = torch.arange(length + 1, device=features.device, dtype=exact)
        powers = torch.exp(exponent.unsqueeze(-1) * steps)  # (features, pairs, length + 1)
        gain = (powers[..., 1] - 1) / relative  # B bar
        readout = torch.complex(self.output_real.to(exact), self.output_imag.to(exact))  # C

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
