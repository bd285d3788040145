"""Knobs as further channels of the input."""

from __future__ import annotations

import torch

from neuralfx.nn.concat import append_knobs, centre


def test_centred_knobs_run_from_minus_one_to_one() -> None:
    torch.testing.assert_close(centre(torch.tensor([0.0, 0.25, 1.0])), torch.tensor([-1.0, -0.5, 1.0]))


def test_still_knobs_stand_behind_the_audio_at_every_sample() -> None:
    audio = torch.tensor([[[1.0, 2.0, 3.0]], [[4.0, 5.0, 6.0]]])
    knobs = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    expected = torch.tensor([
        [[1.0, 2.0, 3.0], [0.1, 0.1, 0.1], [0.2, 0.2, 0.2]],
        [[4.0, 5.0, 6.0], [0.3, 0.3, 0.3], [0.4, 0.4, 0.4]],
    ])  # fmt: skip
    torch.testing.assert_close(append_knobs(audio, knobs), expected)


def test_moving_knobs_stand_at_their_samples() -> None:
    moving = torch.tensor([[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]])
    expected = torch.tensor([[[1.0, 2.0, 3.0], [0.1, 0.3, 0.5], [0.2, 0.4, 0.6]]])
    torch.testing.assert_close(append_knobs(torch.tensor([[[1.0, 2.0, 3.0]]]), moving), expected)


def test_no_knobs_and_no_samples_are_fine() -> None:
    audio = torch.rand(2, 2, 5)
    torch.testing.assert_close(append_knobs(audio, torch.zeros(2, 0)), audio)
    assert append_knobs(torch.zeros(2, 1, 0), torch.zeros(2, 3)).shape == (2, 4, 0)
    assert append_knobs(torch.zeros(2, 1, 0), torch.zeros(2, 0, 3)).shape == (2, 4, 0)
