"""Audio files and resampling."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from neuralfx import audio
from neuralfx.errors import AudioError, AudioFileError

RATES = [(44_100, 48_000), (48_000, 44_100), (96_000, 44_100), (44_100, 96_000), (16_000, 48_000), (48_000, 8_000)]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, shape).astype(np.float32)


@pytest.fixture
def fresh_torchaudio() -> Iterator[None]:
    """The next import of torchaudio starts from nothing; afterwards all is as before."""

    def take() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] == "torchaudio"]
        return {name: sys.modules.pop(name) for name in names}

    before = take()
    audio.torchaudio_functional.cache_clear()
    yield
    take()
    sys.modules.update(before)
    audio.torchaudio_functional.cache_clear()


def fake_torchaudio(folder: Path, extension: str, functional: str) -> str:
    package = folder / "torchaudio"
    package.mkdir()
    (package / "__init__.py").write_text("from . import _extension, functional")
    (package / "_extension.py").write_text(extension)
    (package / "functional.py").write_text(functional)
    importlib.invalidate_caches()
    return str(folder)


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, neuralfx.audio; raise SystemExit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 2**-15),
        ("a.wav", "PCM_24", 2**-23),
        ("a.wav", None, 0),
        ("a.WAV", "DOUBLE", 0),
        ("a.flac", None, 2**-23),
        ("a.aiff", None, 0),
        ("a.aif", "PCM_16", 2**-15),
    ],
)
def test_what_is_written_is_read_back(tmp_path: Path, name: str, subtype: str | None, tolerance: float) -> None:
    samples = noise(2, 1_000)
    audio.write(tmp_path / name, samples, 44_100, subtype)
    back, rate = audio.read(tmp_path / name)
    assert rate == 44_100
    assert back.shape == (2, 1_000)
    assert back.dtype == (np.float64 if subtype == "DOUBLE" else np.float32)
    assert np.abs(back - samples).max() <= tolerance
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_lossy_files_are_written_and_read(tmp_path: Path, name: str) -> None:
    sine = 0.5 * np.sin(np.arange(200_000) / 20)
    audio.write(tmp_path / name, sine, 44_100)
    back, rate = audio.read(tmp_path / name)
    assert rate == 44_100
    assert back.shape[0] == 1
    middle = back[0, 20_000:150_000]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_info_reads_the_header(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", noise(2, 4_410), 44_100, "PCM_24")
    header = audio.info(tmp_path / "a.wav")
    assert header == audio.AudioInfo(44_100, 2, 4_410, "WAV", "PCM_24")
    assert header.duration_s == pytest.approx(0.1)


def test_a_span_is_read_in_its_place(tmp_path: Path) -> None:
    samples = noise(2, 1_000)
    audio.write(tmp_path / "a.wav", samples, 44_100)
    np.testing.assert_array_equal(audio.read_span(tmp_path / "a.wav", 300, 450), samples[:, 300:450])
    assert audio.read_span(tmp_path / "a.wav", 5, 5).shape == (2, 0)
    with pytest.raises(AudioError, match="within its 1000 samples, got 900 to 1001"):
        audio.read_span(tmp_path / "a.wav", 900, 1_001)


def test_blocks_add_up_to_the_file(tmp_path: Path) -> None:
    samples = noise(2, 1_000)
    audio.write(tmp_path / "a.flac", samples, 44_100, "PCM_16")
    parts = list(audio.blocks(tmp_path / "a.flac", 300))
    assert [part.shape[-1] for part in parts] == [300, 300, 300, 100]
    np.testing.assert_array_equal(np.concatenate(parts, axis=-1), audio.read(tmp_path / "a.flac")[0])


def test_unusable_files_say_why(tmp_path: Path) -> None:
    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("this is no audio")
    (tmp_path / "song.m4a").write_bytes(b"1234")
    soundfile.write(tmp_path / "header.wav", np.zeros(0), 44_100)
    for name, words in [
        ("gone.wav", "there is no file"),
        ("zero.wav", "0 bytes"),
        ("text.wav", "no audio that can be read"),
        ("song.m4a", r"ending in .wav, .flac, .aif, .aiff, .ogg, .mp3, got '.m4a'"),
        ("header.wav", "no samples"),
        ("", "is a folder"),
    ]:
        for function in (audio.info, audio.read, lambda path: audio.read_span(path, 0, 1)):
            with pytest.raises(AudioFileError, match=words):
                function(tmp_path / name)


def test_audio_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    for samples, words in [
        (np.zeros(0), "shape"),
        (np.zeros((1, 2, 3)), "shape"),
        (np.ones(9, np.int16), "divide integers"),
        (np.array([0.0, np.nan]), "NaN"),
    ]:
        with pytest.raises(AudioError, match=words):
            audio.write(tmp_path / "a.wav", samples, 44_100)
    for name, subtype, channels, words in [
        ("a.xyz", None, 1, "ending"),
        ("no/a.wav", None, 1, "no folder"),
        ("a.flac", "FLOAT", 1, "hold PCM_24|hold PCM_S8|not FLOAT"),
        ("a.mp3", None, 6, "2 channels"),
    ]:
        with pytest.raises(AudioFileError, match=words):
            audio.write(tmp_path / name, np.zeros((channels, 9)), 44_100, subtype)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
def test_a_write_that_fails_leaves_the_older_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.wav"
    audio.write(path, noise(1, 100), 44_100)
    before = path.read_bytes()
    with pytest.raises((KeyboardInterrupt, AudioFileError)), audio.writer(path, 44_100, 1) as add:
        add(noise(1, 50))
        raise error
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_own_resampling_equals_torchaudios(from_hz: int, to_hz: int) -> None:
    if audio.torchaudio_functional() is None:
        pytest.skip("torchaudio is not installed")
    samples = torch.from_numpy(noise(2, 5_000)).double()
    resampler = audio.Resampler(from_hz, to_hz)
    own = torch.cat([resampler.process(samples), resampler.flush()], dim=-1)
    torch.testing.assert_close(own, audio.resample(samples, from_hz, to_hz), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("from_hz", "to_hz"), RATES)
def test_resampling_does_not_depend_on_block_sizes(from_hz: int, to_hz: int) -> None:
    samples = torch.from_numpy(noise(2, 2_000))
    expected = audio.resample(samples, from_hz, to_hz)
    for sizes in ([1], [7], [64, 1, 0, 441], [2_000]):
        resampler = audio.Resampler(from_hz, to_hz)
        parts, start = [], 0
        while start < 2_000:
            for size in sizes:
                parts.append(resampler.process(samples[:, start : start + size]))
                start += size
        assert sum(part.shape[-1] for part in parts) == resampler.available(2_000) == resampler.produced
        parts.append(resampler.flush())
        torch.testing.assert_close(torch.cat(parts, dim=-1), expected, atol=1e-6, rtol=0)


def test_a_sine_keeps_its_place_and_size() -> None:
    sine = np.sin(2 * np.pi * 1_000 * np.arange(44_100) / 44_100)
    expected = np.sin(2 * np.pi * 1_000 * np.arange(48_000) / 48_000)
    error = (audio.resample(sine, 44_100, 48_000) - expected)[1_000:-1_000]
    assert 20 * np.log10(np.abs(error).max()) < -100


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_resampling_keeps_kind_and_dtype(dtype: type) -> None:
    samples = noise(3, 2, 100).astype(dtype)
    result = audio.resample(samples, 8_000, 16_000)
    assert isinstance(result, np.ndarray) and result.dtype == dtype and result.shape == (3, 2, 200)
    tensor = audio.resample(torch.from_numpy(samples), 8_000, 16_000)
    assert isinstance(tensor, torch.Tensor) and tensor.numpy().dtype == dtype
    np.testing.assert_array_equal(tensor.numpy(), result)


def test_odd_ratios_need_no_huge_table() -> None:
    assert audio.resample(noise(1, 500), 44_100, 44_101).shape == (1, 501)


def test_bad_arguments_of_resampling_say_what_is_expected() -> None:
    with pytest.raises(AudioError, match="floating-point audio, got int16"):
        audio.resample(np.ones(9, np.int16), 8_000, 16_000)
    with pytest.raises(AudioError, match=r"floating-point audio, got torch.int16"):
        audio.resample(torch.ones(9, dtype=torch.int16), 8_000, 16_000)
    for rate in (0, -1, 44_100.5, None, True):
        with pytest.raises(AudioError, match="positive integer"):
            audio.resample(noise(9), rate, 16_000)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="call process first"):
        audio.Resampler(8_000, 16_000).flush()


def test_torchaudio_that_loads_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_torchaudio: None) -> None:
    functional = "from torchaudio import _extension\nkind = _extension.kind"
    monkeypatch.syspath_prepend(fake_torchaudio(tmp_path, "kind = 'native'", functional))
    assert audio.torchaudio_functional().kind == "native"
    assert "torchaudio.functional" in sys.modules


def test_torchaudio_whose_compiled_part_fails_is_used_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_torchaudio: None
) -> None:
    functional = "from torchaudio._extension import fail_if_no_align\nkind = fail_if_no_align(lambda: 'python')()"
    monkeypatch.syspath_prepend(fake_torchaudio(tmp_path, "raise OSError('no library')", functional))
    assert audio.torchaudio_functional().kind == "python"
    assert not [name for name in sys.modules if name.startswith("torchaudio")]


@pytest.mark.parametrize("missing", [True, False])
def test_without_torchaudio_resampling_sounds_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_torchaudio: None, missing: bool
) -> None:
    samples = noise(2, 3_000)
    expected = audio.resample(samples, 44_100, 48_000)
    for name in [name for name in sys.modules if name.startswith("torchaudio")]:
        monkeypatch.delitem(sys.modules, name)
    audio.torchaudio_functional.cache_clear()
    if missing:
        monkeypatch.setitem(sys.modules, "torchaudio", None)
    else:
        monkeypatch.syspath_prepend(fake_torchaudio(tmp_path, "", "raise RuntimeError('broken')"))
    assert audio.torchaudio_functional() is None
    np.testing.assert_allclose(audio.resample(samples, 44_100, 48_000), expected, atol=1e-6, rtol=0)


def test_a_ratio_of_rates_that_needs_a_huge_table_is_refused() -> None:
    with pytest.raises(AudioError, match="needs too large a table"):
        audio.Resampler(44_100, 999_983)
