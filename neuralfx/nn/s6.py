"""Selective state space layer (S6), evaluated as a blocked scan with a carried state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuralfx.engine import compiler
from neuralfx.nn import packing
from neuralfx.nn.diagonal import precise
from neuralfx.nn.operations import Operations, add_operations, linear_operations
from neuralfx.nn.time_constants import spread_time_constants

if TYPE_CHECKING:
    import numpy.typing as npt

_STATES = 2**22  # numbers of all states that are kept at a time while playing: 32 MB


class S6(nn.Module):
    r"""One diagonal state space system per feature whose step, input and output depend on the features themselves.

    .. math::
        (r, B, C)[n] = W_x u[n], \qquad \Delta[n] = \operatorname{softplus}(W_\Delta r[n] + b_\Delta)

        s_{hk}[n] = e^{\Delta_h[n] A_{hk}} s_{hk}[n-1] + \Delta_h[n] B_k[n] u_h[n], \qquad
        v_h[n] = \sum_k C_k[n] s_{hk}[n] + D_h u_h[n]

        v'[n] = W_o v[n] + b_o, \qquad A_{hk} = -e^{\alpha_{hk}}

    with real states. A is negative and the step positive, so all poles are stable for all values of the parameters and
    of the features. As in Mamba, A starts at -1, -2, ..., -N in every feature and B is discretised by Euler's rule.
    Where we depart from Mamba: :math:`b_\Delta` starts such that the time constants :math:`1 / (\Delta_h k)` lie
    between ``shortest_samples`` and ``longest_samples``, spread evenly in the logarithm over the features, because its
    steps of 0.001 to 0.1 forget within 21 ms at 48 kHz; and there is neither a gate, nor a short convolution, nor an
    expansion around the layer.

    The decay and the state are double precision on every device that has it: a pole with a time constant of seconds
    lies within float32's rounding of 1.

    Args:
        features: Features in and out, H.
        state_size: Real states per feature, N.
        rank: Features r from which the steps are computed.
        shortest_samples: Shortest initial time constant, in samples.
        longest_samples: Longest initial time constant, in samples; at least N times the shortest.

    Raises:
        ConfigError: If the time constants are no range.

    Reference:
        Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023, section 3.
    """

    def __init__(
        self, features: int, state_size: int, rank: int, shortest_samples: float, longest_samples: float
    ) -> None:
        super().__init__()
        self.features = features
        self.state_size = state_size
        self.rank = rank
        self.selection = nn.Linear(features, rank + 2 * state_size, bias=False)  # W_x
        self.step = nn.Linear(rank, features)  # W_Delta, b_Delta
        self.log_decay = nn.Parameter(torch.log(torch.arange(1.0, state_size + 1)).repeat(features, 1))  # alpha
        self.direct = nn.Parameter(torch.ones(features))  # D
        self.output = nn.Linear(features, features)  # W_o, b_o
        # The fastest state of a feature forgets N times as fast as its slowest.
        slowest = spread_time_constants(shortest_samples * state_size, longest_samples, features)
        steps = 1 / slowest.flip(0)
        with torch.no_grad():
            nn.init.uniform_(self.step.weight, -1 / math.sqrt(rank), 1 / math.sqrt(rank))
            self.step.bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # the inverse of softplus

    def initial_state(self, batch_size: int, device: torch.device | None, dtype: torch.dtype) -> Tensor:
        """Zeros of shape (batch, features, state_size)."""
        del dtype  # the state is as precise as the device allows, whatever the audio is
        return torch.zeros(batch_size, self.features, self.state_size, device=device, dtype=precise(device))

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run at least one sample into features of the same shape.

        Args:
            features: Shape (batch, time, features).
            state: Shape (batch, features, state_size).
        """
        exact = precise(features.device)
        ranked, into, readout = self.selection(features).split([self.rank, self.state_size, self.state_size], dim=-1)
        step = self.step(ranked)
        if compiler.serves("selective", features, self.direct):
            from neuralfx.engine.selective import selective_scan

            rates = torch.exp(self.log_decay)
            output, state = selective_scan(features, functional.softplus(step), into, readout, rates, state)
            return self.output(output + self.direct * features), state
        # Playing, states of a few samples at a time, however long the audio is; training needs all of them at once.
        together = features.shape[1] if torch.is_grad_enabled() else max(1, _STATES // state.numel())
        rates, read = torch.exp(self.log_decay.to(exact)), []
        for heard, delta, entering, leaving in zip(
            *(part.split(together, 1) for part in (features, step, into, readout))
        ):
            delta = functional.softplus(delta.to(exact)).unsqueeze(-1)  # Delta, (batch, time, features, 1)
            decay = torch.exp(-delta * rates)
            states, state = scan(decay, delta * heard.unsqueeze(-1) * entering.unsqueeze(-2), state)
            read.append((states * leaving.unsqueeze(-2)).sum(-1).to(features.dtype))
        return self.output(torch.cat(read, dim=1) + self.direct * features), state

    def packed(self) -> tuple[npt.NDArray[Any], ...]:
        """W_x, W_Delta with its bias, -A and D, as the compiled network takes them; W_o is left to the next layer."""
        rates = packing.array(torch.exp(self.log_decay))
        return packing.linear(self.selection), packing.linear(self.step), rates, packing.array(self.direct)

    def operations(self) -> Operations:
        """Those of one sample; softplus is one function per feature."""
        width, states = self.features, self.features * self.state_size
        return add_operations(
            linear_operations(self.selection),
            linear_operations(self.step),
            Operations(0, 0, width),  # softplus
            Operations(states, 0, states),  # exp(Delta A)
            Operations(width + states, 0),  # Delta u B
            Operations(states, states),  # the recurrence
            Operations(states, states - width),  # C s
            Operations(width, width),  # D u
            linear_operations(self.output),
        )


def scan(decay: Tensor, added: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Linear recurrence with changing coefficients: s_n = decay_n s_{n-1} + added_n.

    The samples are split into about as many chunks as a chunk has samples. All chunks recur side by side from zero;
    then the state moves from chunk to chunk. Only products of decays appear, so nothing can overflow; dividing by
    cumulative products, as public code does, is wrong as soon as they underflow.

    Args:
        decay: Between 0 and 1, shape (batch, time, ...), time at least 1.
        added: Same shape.
        state: State before the first sample, shape (batch, ...).

    Returns:
        All states, shaped as ``added``, and the last one.
    """
    batch_size, time, *shape = decay.shape
    length = math.isqrt(time - 1) + 1  # the square root, rounded up
    missing = -time % length
    if missing:  # samples that change nothing
        decay = torch.cat([decay, decay.new_ones(batch_size, missing, *shape)], dim=1)
        added = torch.cat([added, added.new_zeros(batch_size, missing, *shape)], dim=1)
    decays = decay.view(batch_size, -1, length, *shape).unbind(2)
    addeds = added.view(batch_size, -1, length, *shape).unbind(2)

    products, sums = [decays[0]], [addeds[0]]  # per sample of a chunk: what remains of its start, what it added
    for factor, addend in zip(decays[1:], addeds[1:]):
        products.append(factor * products[-1])
        sums.append(torch.addcmul(addend, factor, sums[-1]))
    starts = [state]
    for factor, addend in zip(products[-1].unbind(1), sums[-1].unbind(1)):
        starts.append(torch.addcmul(addend, factor, starts[-1]))

    before = torch.stack(starts[:-1], dim=1).unsqueeze(2)
    states = torch.addcmul(torch.stack(sums, dim=2), torch.stack(products, dim=2), before)
    return states.view(batch_size, -1, *shape)[:, :time], starts[-1]
