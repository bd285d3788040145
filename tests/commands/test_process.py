"""``neuralfx process``: files in, files out."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from neuralfx import audio
from neuralfx.commands import process as command
from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.errors import AudioError, AudioFileError, ConfigError, KnobError, NeuralfxError
from neuralfx.nn.network import Network, State
from neuralfx.streaming import Stream

EFFECT = Effect("toy", 44_100, Knobs([Knob("gain", 0, 10, default=1), Knob("mode", positions=("plain", "late"))]))
LENGTH = 3_000


class Gain(Network):
    """Ten times the normalised gain, seven samples late."""

    num_knobs = 2
    latency_samples = 7

    def initial_state(
        self, batch_size: int, device: torch.device | None = None, dtype: torch.dtype = torch.float32
    ) -> State:
        return torch.zeros(batch_size, 1, 7, device=device, dtype=dtype)

    def forward(self, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        late = torch.cat([state, audio * 10 * knobs[:, :1, None]], dim=-1)
        return late[..., : audio.shape[-1]], late[..., audio.shape[-1] :]


class Model:
    effect = EFFECT
    knobs = EFFECT.knobs

    def __init__(self) -> None:
        self.network = Gain()

    def stream(self, sample_rate: int | None = None) -> Stream:
        return Stream(self.network, self.effect, sample_rate)


@pytest.fixture(autouse=True)
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Names that the command loads; each gives the toy model."""
    names: list[Any] = []

    def load(name: str, *, device: str = "cpu") -> Model:
        names.append((name, device))
        return Model()

    stand_in = ModuleType("neuralfx.hub.load")
    stand_in.load = load  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "neuralfx.hub.load", stand_in)
    return names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(path: str, channels: int = 1, rate: int = 44_100, subtype: str | None = "PCM_16") -> np.ndarray:
    """Write noise within ±0.4 and return it as the file holds it."""
    Path(path).parent.mkdir(exist_ok=True)
    samples = np.random.default_rng(0).uniform(-0.4, 0.4, (channels, LENGTH))
    audio.write(path, samples, rate, subtype)
    return audio.read(path)[0]


def files() -> list[str]:
    return sorted(path.as_posix() for path in Path().rglob("*") if path.is_file())


def test_a_file_is_processed_and_its_result_named(
    folder: Path, capsys: pytest.CaptureFixture[str], loads: list[Any]
) -> None:
    dry = record("in.wav", channels=2)
    assert command.main(["in.wav", "-m", "toy-lstm", "-k", "gain=2", "-k", "mode=late", "-o", "out.wav"]) == 0
    wet, rate = audio.read("out.wav")
    assert rate == 44_100
    np.testing.assert_allclose(wet, 2 * dry, atol=2**-15)
    assert capsys.readouterr() == ("out.wav\n", "")
    assert loads == [("toy-lstm", "cpu")]


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_the_coding_follows_the_input(folder: Path, subtype: str) -> None:
    dry = record("in.wav", subtype=subtype)
    command.main(["in.wav", "-m", "toy"])
    assert audio.info("in-toy.wav").subtype == subtype
    np.testing.assert_allclose(audio.read("in-toy.wav")[0], dry, atol=2**-15 if subtype == "PCM_16" else 1e-6)


@pytest.mark.parametrize(
    ("source", "target", "subtype"),
    [
        ("in.flac", "out.wav", "PCM_16"),
        ("in.wav", "out.flac", "PCM_16"),
        ("in.aiff", "out.aif", "PCM_16"),
        ("in.ogg", "out.wav", "FLOAT"),
        ("in.mp3", "out.flac", "PCM_24"),
        ("in.mp3", "out.wav", "FLOAT"),
        ("in.wav", "out.ogg", "VORBIS"),
        ("in.wav", "out.mp3", "MPEG_LAYER_III"),
    ],
)
def test_the_ending_chooses_the_format(folder: Path, source: str, target: str, subtype: str) -> None:
    record(source, subtype=None if source.endswith(("ogg", "mp3")) else "PCM_16")
    command.main([source, "-m", "toy", "-o", target])
    header = audio.info(target)
    assert header.subtype == subtype
    assert header.format == audio.format_of(target)
    if not target.endswith("mp3"):
        assert header.samples == audio.info(source).samples


@pytest.mark.parametrize("rate", [22_050, 44_100, 96_000])
def test_long_files_in_pieces_equal_the_whole(folder: Path, monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    record("in.wav", rate=rate, subtype="FLOAT")
    command.main(["in.wav", "-m", "toy", "-o", "whole.wav"])
    monkeypatch.setattr(command, "_BLOCK_SAMPLES", 101)
    command.main(["in.wav", "-m", "toy", "-o", "pieces.wav"])
    whole, pieces = audio.read("whole.wav")[0], audio.read("pieces.wav")[0]
    assert whole.shape == pieces.shape == (1, LENGTH)
    np.testing.assert_allclose(pieces, whole, atol=1e-6)


def test_clipping_is_told_with_a_remedy_that_works(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record("in.wav")
    loud = ["in.wav", "-m", "toy", "-k", "gain=5", "-o", "out.wav"]
    command.main(loud)
    warning = capsys.readouterr().err
    assert warning.startswith("warning: out.wav is clipped: its peak is +6.0") and warning.count("\n") == 1
    gain_db = warning.partition("--gain ")[2].partition(",")[0]
    assert gain_db == "-6.1"
    command.main([*loud, "--gain", gain_db])
    assert capsys.readouterr().err == ""
    assert 0.97 < np.abs(audio.read("out.wav")[0]).max() < 1


def test_float_files_hold_what_exceeds_full_scale(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dry = record("in.wav", subtype="FLOAT")
    command.main(["in.wav", "-m", "toy", "-k", "gain=5"])
    assert capsys.readouterr().err == ""
    np.testing.assert_allclose(audio.read("in-toy.wav")[0], 5 * dry, rtol=1e-5)


def test_folders_and_patterns_stand_for_their_audio_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("takes/a.wav", "takes/b.flac", "other/c.wav"):
        record(name)
    Path("takes/notes.txt").write_text("no audio")
    command.main(["takes", "oth*/*.wav", "-m", "toy", "-o", "wet"])
    assert [Path(line).as_posix() for line in capsys.readouterr().out.split()] == [
        "wet/a.wav",
        "wet/b.flac",
        "wet/c.wav",
    ]
    command.main(["takes", "-m", "someone/toy@v1"])
    command.main(["takes", "-m", "someone/toy@v1", "-y"])
    assert [name for name in files() if name.startswith("takes")] == [
        "takes/a-toy.wav",
        "takes/a.wav",
        "takes/b-toy.wav",
        "takes/b.flac",
        "takes/notes.txt",
    ]


def test_a_model_folder_gives_its_name(folder: Path) -> None:
    record("in.wav")
    Path("my amp").mkdir()
    command.main(["in.wav", "-m", f"my amp{os.sep}"])
    assert Path("in-my-amp.wav").is_file()


def test_only_a_named_file_is_replaced_unasked(folder: Path) -> None:
    record("in.wav")
    command.main(["in.wav", "-m", "toy", "-o", "out.wav"])
    command.main(["in.wav", "-m", "toy", "-o", "out.wav"])
    command.main(["in.wav", "-m", "toy"])
    with pytest.raises(ConfigError, match=r"in-toy.wav exists; pass -y"):
        command.main(["in.wav", "-m", "toy"])
    command.main(["in.wav", "-m", "toy", "-y"])
    command.main(["in.wav", "-m", "toy", "-o", "wet/"])
    with pytest.raises(ConfigError, match="exists; pass -y"):
        command.main(["in.wav", "-m", "toy", "-o", "wet"])


def test_bad_use_says_what_to_do_and_writes_nothing(folder: Path, loads: list[Any]) -> None:
    record("in.wav")
    record("sub/in.flac")
    record("sub/in.wav")
    Path("text.wav").write_text("no audio")
    Path("empty").mkdir()
    before = files()
    for arguments, words in [
        (["gone.wav"], "there is no file gone.wav"),
        (["text.wav"], "no audio that can be read"),
        (["empty"], "found none"),
        (["*.mp3"], "found none"),
        (["in.wav", "-o", "in.wav", "-y"], "is an input and is not replaced"),
        (["sub", "-o", "sub", "-y"], "is an input and is not replaced"),
        (["in.wav", "sub/in.wav", "-o", "wet"], "would both be written to"),
        (["sub"], "would both be written to"),
        (["in.wav", "sub/in.wav", "-o", "out.wav"], "pass -o FOLDER"),
        (["sub", "-o", "text.wav"], "pass -o FOLDER"),
        (["in.wav", "-o", "out.xyz"], "ending in .wav"),
        (["in.wav", "-o", "in.wav/out.wav"], "cannot write"),
    ]:
        with pytest.raises((AudioFileError, ConfigError), match=words):
            command.main([*arguments, "-m", "toy"])
    for arguments, words in [
        (["-k", "gain"], r"name=value such as peak_reduction=60, got 'gain'"),
        (["-k", "=3"], "name=value"),
        (["-k", "gain="], "name=value"),
        (["-k", "gain=loud"], "0 to 10, got 'loud'"),
        (["-k", "gain=11"], "0 to 10, got 11"),
        (["-k", "gain=nan"], "0 to 10, got nan"),
        (["-k", "mode=1"], "plain, late, got '1'"),
        (["-k", "drive=1"], "toy has no knob 'drive'"),
    ]:
        with pytest.raises(KnobError, match=words):
            command.main(["in.wav", "-m", "toy", *arguments])
    with pytest.raises(AudioError, match="finite gain"):
        command.main(["in.wav", "-m", "toy", "--gain", "nan"])
    with pytest.raises(ConfigError):
        command.main(["in.wav"])
    assert files() == before


def test_infinite_samples_are_told_with_their_file(folder: Path) -> None:
    soundfile.write("in.wav", np.array([0.0, np.nan]), 44_100, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"in.wav: expected finite audio"):
        command.main(["in.wav", "-m", "toy"])
    assert files() == ["in.wav"]


def test_a_bad_file_among_several_leaves_nothing_half_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)  # files side by side
    record("a.wav")
    soundfile.write("b.wav", np.array([0.0, np.nan]), 44_100, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"b.wav: expected finite audio"):
        command.main(["a.wav", "b.wav", "-m", "toy", "-o", "wet"])
    assert {"a.wav", "b.wav"} <= set(files())
    assert {path.name for path in Path("wet").iterdir()} <= {"a.wav"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), NeuralfxError("no"), RuntimeError("out of memory")])
def test_a_stop_leaves_nothing_half_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    record("in.wav")
    command.main(["in.wav", "-m", "toy", "-o", "out.wav"])
    before = Path("out.wav").read_bytes()
    monkeypatch.setattr(command, "_BLOCK_SAMPLES", 1_000)
    calls = []

    def stop(self: Gain, audio: Tensor, knobs: Tensor, state: State) -> tuple[Tensor, State]:
        calls.append(audio)
        if len(calls) == 2:
            raise error
        return audio, state

    monkeypatch.setattr(Gain, "forward", stop)
    with pytest.raises(type(error)):
        command.main(["in.wav", "-m", "toy", "-o", "out.wav"])
    assert Path("out.wav").read_bytes() == before
    assert files() == ["in.wav", "out.wav"]
