"""What every metric of takes promises, whatever it measures."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from neuralfx.errors import ShapeError
from neuralfx.metrics import METRICS, TakeMetric
from tests.checks import noise

BLIND_TO_POLARITY = sorted(set(METRICS) - {"mse", "mae", "esr", "esr_published", "esr_preemphasis", "esr_dc", "dc"})
ENERGY_RATIOS = ["esr", "esr_preemphasis", "esr_dc", "dc"]  # not a number for silent targets


def metric(name: str) -> TakeMetric:
    return METRICS[name](sample_rate=250 if name == "transient" else 8000)


def take(samples: int = 4200) -> tuple[Tensor, Tensor]:
    target = noise(2, samples, dtype=torch.float64) * torch.linspace(0.2, 2, samples).double()
    return torch.tanh(2 * target) / 2 + 0.01, target


def measure_in_pieces(name: str, pieces: list[int]) -> float:
    found = metric(name)
    estimate, target = take()
    start = 0
    while start < target.shape[-1]:
        for size in pieces:
            found.update(estimate[:, start : start + size], target[:, start : start + size])
            start += size
    return float(found.compute())


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that are shorter than the take, and than some windows."""
    monkeypatch.setattr(TakeMetric, "block_samples", 1500)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("pieces", [[1], [7], [4096], [0, 1499, 1, 2, 700]], ids=str)
def test_pieces_of_any_lengths_give_the_value_of_the_whole(name: str, pieces: list[int], small_blocks: None) -> None:
    whole = metric(name).measure(*take())
    assert whole.shape == (2,)
    assert whole.dtype == torch.float64
    assert measure_in_pieces(name, pieces) == pytest.approx(float(whole.mean()), rel=1e-9)


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"transient"}))  # whose blocks are part of its definition
def test_the_length_of_blocks_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = metric(name).measure(*take())
    monkeypatch.setattr(TakeMetric, "block_samples", 1301)
    torch.testing.assert_close(metric(name).measure(*take()), whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", METRICS)
def test_the_target_itself_is_perfect(name: str) -> None:
    target = take()[1]
    torch.testing.assert_close(metric(name).measure(target, target), torch.zeros(2).double(), rtol=0, atol=0)


@pytest.mark.parametrize("name", METRICS)
def test_something_else_is_not_perfect(name: str) -> None:
    assert (metric(name).measure(*take()) > 1e-6).all()


@pytest.mark.parametrize("name", BLIND_TO_POLARITY)
def test_polarity_is_not_heard(name: str) -> None:
    target = take()[1]
    assert (metric(name).measure(-target, target) < 1e-9).all()


@pytest.mark.parametrize("name", ["esr", "esr_preemphasis"])
def test_wrong_polarity_doubles_the_error_to_signal_amplitude(name: str) -> None:
    target = take()[1]
    torch.testing.assert_close(metric(name).measure(-target, target), torch.full((2,), 4.0).double())


@pytest.mark.parametrize("name", METRICS)
def test_silence_stays_finite_where_it_can_be_measured(name: str) -> None:
    target, silence = take()[1], torch.zeros(2, 4200).double()
    assert metric(name).measure(silence, target).isfinite().all()
    for estimate in (silence, target):
        measured = metric(name).measure(estimate, silence)
        assert (measured.isnan() if name in ENERGY_RATIOS else measured.isfinite()).all()


@pytest.mark.parametrize("name", ENERGY_RATIOS)
def test_a_channel_whose_target_is_silent_is_left_out(name: str) -> None:
    estimate, target = take()
    both, heard = metric(name), metric(name)
    both.update(estimate, target * torch.tensor([[1.0], [0.0]]))
    heard.update(estimate[:1], target[:1])
    torch.testing.assert_close(both.compute(), heard.compute())


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"transient"}))  # which looks at the loudest moments alone
def test_a_channel_that_has_diverged_is_not_hidden(name: str) -> None:
    estimate, target = take()
    estimate[1, 700] = torch.nan
    measured = metric(name)
    measured.update(estimate, target)
    assert measured.compute().isnan()


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("samples", [1, 2, 100, 1024, 2048, 2049])
def test_short_takes_have_a_value(name: str, samples: int) -> None:
    estimate, target = take(samples)
    whole = metric(name).measure(estimate, target)
    assert whole.isfinite().all()
    found = metric(name)
    found.update(estimate, target)
    assert float(found.compute()) == pytest.approx(float(whole.mean()), rel=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_asking_in_between_changes_nothing_and_reset_begins_another_take(name: str) -> None:
    estimate, target = take()
    found = metric(name)
    found.update(target[:1, :3000], estimate[:1, :3000])
    found.compute()
    found.reset()
    found.update(estimate[:, :1000], target[:, :1000])
    found.compute()
    found = pickle.loads(pickle.dumps(found))
    value = found(estimate[:, 1000:], target[:, 1000:])
    assert float(value) == pytest.approx(float(metric(name).measure(estimate, target).mean()), rel=1e-9)


@pytest.mark.parametrize("name", sorted(set(METRICS) - {"transient"}))
def test_gradients_are_finite(name: str) -> None:
    estimate, target = take(3000)
    estimate.requires_grad_()
    metric(name).measure(estimate, target).sum().backward()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()
    assert estimate.grad.abs().max() > 0


@pytest.mark.parametrize(
    "name", ["mse", "mae", "esr", "esr_preemphasis", "esr_dc", "mrstft", "mrstft_relative", "mrstft_auraloss"]
)
def test_what_is_a_loss_has_finite_gradients_at_silence(name: str) -> None:
    estimate = torch.zeros(2, 3000, dtype=torch.float64, requires_grad=True)
    metric(name).measure(estimate, take(3000)[1]).sum().backward()
    assert estimate.grad is not None
    assert estimate.grad.isfinite().all()


@pytest.mark.parametrize("name", METRICS)
def test_signals_may_have_any_leading_axes(name: str) -> None:
    estimate, target = (signal[:, :4000].reshape(2, 2, 2000) for signal in take())
    whole = metric(name).measure(estimate, target)
    assert whole.shape == (2, 2)
    torch.testing.assert_close(metric(name).measure(estimate[1, 0], target[1, 0]), whole[1, 0])


def test_single_precision_is_added_up_in_double_precision() -> None:
    found = METRICS["mse"](48_000)
    for _ in range(4):
        found.update(torch.zeros(1, 100_000), torch.full((1, 100_000), 0.1))
    assert float(found.compute()) == pytest.approx(0.1**2, rel=1e-7)


def test_memory_does_not_grow_with_the_take() -> None:
    target = noise(1, 20_000)
    for name in METRICS:
        found, sizes = metric(name), []
        for _ in range(3):
            found.update(0.5 * target, target)
            sizes.append(len(pickle.dumps(found)))
        assert sizes[2] - sizes[1] < 60_000, name  # a piece has 320 kB in both signals


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")  # torchmetrics says it too
def test_nothing_measured_is_not_a_number() -> None:
    assert metric("mse").compute().isnan()


def test_pieces_must_be_channels_by_time() -> None:
    with pytest.raises(ShapeError, match=r"MeanSquaredError: expected two pieces .* got \(3,\) and \(3,\)"):
        metric("mse").update(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ShapeError, match=r"got \(1, 3\) and \(1, 4\)"):
        metric("mse").update(torch.zeros(1, 3), torch.zeros(1, 4))


def test_another_number_of_channels_is_another_take() -> None:
    found = metric("mse")
    found.update(torch.zeros(1, 3), torch.zeros(1, 3))
    with pytest.raises(ShapeError, match="expected 1 channels as before, got 2; call reset"):
        found.update(torch.zeros(2, 3), torch.zeros(2, 3))


def test_whole_signals_must_agree_and_hold_something() -> None:
    with pytest.raises(ShapeError, match=r"expected two signals .* \(2, 3\) and \(3,\)"):
        metric("mrstft").measure(torch.zeros(2, 3), torch.zeros(3))
    with pytest.raises(ShapeError, match="at least one sample"):
        metric("mrstft").measure(torch.zeros(2, 0), torch.zeros(2, 0))
