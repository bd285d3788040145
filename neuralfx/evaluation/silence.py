"""Whether a model is silent when nothing goes in: recurrent networks may oscillate, most of all untrained settings."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralfx.effect import Effect
from neuralfx.engine import compiler
from neuralfx.errors import ConfigError
from neuralfx.models.base import EffectModule
from neuralfx.nn.state import play_in_blocks
from neuralfx.streaming import evaluating
from neuralfx.text import describe_knobs

MOST_SETTINGS = 81
AUDIBLE = 0.005  # of full scale, from peak to peak
SETTLE_S = 0.75  # after switching on
BURST_S = 0.4
LEVEL = 0.8  # of the burst
DECAY_S = 1.0  # after it
LISTEN_S = 0.25

_MOST_COUNTED = 1_000_000  # combinations of which some are drawn without drawing one twice


def measure_silence(model: EffectModule) -> dict[str, Any]:
    """Play silence, a loud burst, and silence again, at many settings of the knobs, and listen to the silence.

    Each knob stands at three to nine places from one end of its range to the other, each switch at each position, in
    all combinations or, if those are more than 81, in 81 of them: all at their lower ends, all at their upper ones, and
    others that are drawn. What comes out is looked at for a quarter of a second, once 0.75 s after switching on, and
    once 1 s after a low note and noise, since an oscillation may have to be set off.

    Args:
        model: The model.

    Returns:
        ``settings``, how many were played; ``humming``, at how many of them the output for silence moves by more than
        0.005 of full scale; ``largest``, the most that it moves from peak to peak, and ``knobs``, where; ``offset``,
        how far from zero it stands at most.

    Raises:
        ConfigError: If the output is not finite.
    """
    settings = _choose_settings(model.effect)
    values = torch.from_numpy(np.stack([model.effect.normalise(setting) for setting in settings]))
    with evaluating(model.network), compiler.waiting(), torch.no_grad():
        moves, offsets = _listen(model, values)
    broken = (~torch.isfinite(moves)).nonzero().flatten().tolist()
    if broken:
        raise ConfigError(
            f"{model.effect.slug}: what comes out is not finite at {len(broken)} of {len(settings)} settings, such as "
            f"{describe_knobs(settings[broken[0]])}; this model cannot be used."
        )
    loudest = int(moves.argmax())
    return {
        "settings": len(settings),
        "humming": int((moves > AUDIBLE).sum()),
        "largest": float(moves[loudest]),
        "knobs": settings[loudest],
        "offset": float(offsets.max()),
    }


def _choose_settings(effect: Effect) -> list[dict[str, Any]]:
    switches = math.prod(len(knob.positions) or 1 for knob in effect.knobs)
    turned = sum(not knob.positions for knob in effect.knobs)
    each = next((count for count in range(9, 3, -2) if switches * count**turned <= MOST_SETTINGS), 3)
    places = [len(knob.positions) or each for knob in effect.knobs]
    total = math.prod(places)
    if total <= MOST_SETTINGS:
        chosen = list(itertools.product(*map(range, places)))
    else:
        ends = [tuple(0 for _ in places), tuple(count - 1 for count in places)]
        chosen = list(dict.fromkeys([*ends, *_draw(places, total)]))[:MOST_SETTINGS]
    return [
        {
            knob.name: np.asarray(knob.denormalise(place / max(count - 1, 1))).item()
            for knob, place, count in zip(effect.knobs, setting, places)
        }
        for setting in chosen
    ]


def _draw(places: list[int], total: int) -> list[tuple[int, ...]]:
    """As many different combinations as may be needed; of very many, two that are alike are not to be expected."""
    generator = np.random.default_rng(0)
    if total > _MOST_COUNTED:
        return [tuple(generator.integers(places).tolist()) for _ in range(MOST_SETTINGS)]
    drawn = np.unravel_index(generator.choice(total, MOST_SETTINGS, replace=False), places)
    return list(zip(*(column.tolist() for column in drawn)))


def _listen(model: EffectModule, knobs: Tensor) -> tuple[Tensor, Tensor]:
    """How far the output moves for silence, and how far from zero it stands, by row of ``knobs`` of (rows, knobs)."""
    rate, like = model.sample_rate, next(model.network.parameters())
    half = round(rate * BURST_S / 2)
    note = torch.sin(torch.arange(half, dtype=torch.float64) * (2 * math.pi * 110 / rate))
    noise = torch.rand(half, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    settle, listen, decay = (note.new_zeros(round(seconds * rate)) for seconds in (SETTLE_S, LISTEN_S, DECAY_S))
    parts = [settle, listen, LEVEL * torch.cat([note, noise]), decay, listen]
    dry = torch.cat(parts).to(like).expand(len(knobs), model.effect.channels, -1)
    state = model.network.initial_state(len(knobs), like.device, like.dtype)
    wet, _ = play_in_blocks(model.network, dry, knobs.to(like), state)
    _, before, *_, after = torch.split(wet.double().cpu(), [len(part) for part in parts], dim=-1)
    silences = torch.stack([before, after], dim=-2)
    moves = silences.amax(-1) - silences.amin(-1)
    return moves.flatten(1).amax(1), before.mean(-1).abs().amax(1)
