"""Whether a model is silent when nothing goes in: recurrent networks may oscillate, most of all untrained settings."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuralfx.effect import Effect
from neuralfx.models.base import EffectModule

MOST_SETTINGS = 81
AUDIBLE = 0.005  # of full scale, from peak to peak
LISTEN_S = 0.25
SETTLE_S = 0.75
ROWS = 27  # settings that are played at once


def measure_silence(model: EffectModule) -> dict[str, Any]:
    """Play silence at many settings of the knobs.

    Each knob stands at three to nine places from one end of its range to the other, each switch at each position, in
    all combinations or, if those are more than 81, in 81 that are drawn. What comes out is looked at from 0.75 to 1 s.

    Args:
        model: The model.

    Returns:
        ``settings``, how many were played; ``humming``, at how many of them the output is not silent, but moves by more
        than 0.005 of full scale; ``largest``, the most that it moves from peak to peak, and ``knobs``, where.
    """
    effect = model.effect
    settings = _choose_settings(effect)
    values = torch.from_numpy(np.stack([effect.normalise(setting) for setting in settings]))
    training = model.training
    model.eval()
    moves = torch.cat([_listen(model, rows) for rows in torch.split(values, ROWS)])
    model.train(training)
    loudest = int(moves.argmax())
    return {
        "settings": len(settings),
        "humming": int((moves > AUDIBLE).sum()),
        "largest": float(moves[loudest]),
        "knobs": settings[loudest],
    }


def _choose_settings(effect: Effect) -> list[dict[str, Any]]:
    switches = math.prod(len(knob.positions) or 1 for knob in effect.knobs)
    turned = sum(not knob.positions for knob in effect.knobs)
    each = next((count for count in range(9, 3, -2) if switches * count**turned <= MOST_SETTINGS), 3)
    places = [len(knob.positions) or each for knob in effect.knobs]
    if math.prod(places) <= MOST_SETTINGS:
        chosen = list(itertools.product(*map(range, places)))
    else:
        generator = np.random.default_rng(0)
        chosen = [tuple(generator.integers(places).tolist()) for _ in range(MOST_SETTINGS)]
    return [
        {
            knob.name: np.asarray(knob.denormalise(place / max(count - 1, 1))).item()
            for knob, place, count in zip(effect.knobs, setting, places)
        }
        for setting in chosen
    ]


@torch.no_grad()
def _listen(model: EffectModule, knobs: Tensor) -> Tensor:
    """How far the output moves for silence, by row of ``knobs`` of shape (rows, knobs)."""
    like = next(model.network.parameters())
    state = model.network.initial_state(len(knobs), like.device, like.dtype)
    knobs = knobs.to(like)
    for seconds in (SETTLE_S, LISTEN_S):
        silence = like.new_zeros(len(knobs), model.effect.channels, round(seconds * model.sample_rate))
        wet, state = model.network(silence, knobs, state)
    moves: Tensor = wet.amax(-1) - wet.amin(-1)
    return moves.amax(-1).cpu()
