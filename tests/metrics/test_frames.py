"""Frames of blocks are the frames of the whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from neuralfx.metrics.frames import CentredFrames, Frames


def cut(framing: Frames, signal: Tensor, blocks: list[int]) -> Tensor:
    rest, found, count = signal[..., :0], [], 0
    for block in signal.split(blocks, -1):
        frames, rest = framing.add(rest, block)
        count += frames.shape[-2]
        found.append(frames)
    return torch.cat([*found, framing.last(rest, count)], -2)


@pytest.mark.parametrize(("samples", "count"), [(1, 1), (8, 1), (9, 2), (10, 2), (11, 3), (16, 5)])
def test_every_sample_is_in_a_frame_and_no_frame_is_empty(samples: int, count: int) -> None:
    frames = cut(Frames(8, 2), torch.arange(1.0, samples + 1), [samples])
    assert len(frames) == count
    assert set(frames.flatten().tolist()) - {0} == set(range(1, samples + 1))
    assert frames[-1].any()


@pytest.mark.parametrize("blocks", [[100], [1] * 100, [3, 40, 57], [8, 2, 90]], ids=lambda blocks: str(blocks[:3]))
def test_blocks_give_the_frames_of_the_whole(blocks: list[int]) -> None:
    signal = torch.randn(100)
    expected = torch.stack([torch.cat([signal, torch.zeros(8)])[start : start + 12] for start in range(0, 96, 6)])
    torch.testing.assert_close(cut(Frames(12, 6), signal, blocks), expected[:16])


@pytest.mark.parametrize("mode", ["reflect", "constant"])
def test_centred_frames_are_those_of_torchs_transform(mode: str) -> None:
    signal = torch.randn(2, 103).double()
    found = torch.fft.rfft(cut(CentredFrames(16, 4, mode), signal, [40, 40, 23]))
    window = torch.ones(16).double()
    expected = torch.stft(signal, 16, 4, window=window, center=True, pad_mode=mode, return_complex=True)
    torch.testing.assert_close(found, expected.mT)
