"""The public data sets as LightningDataModules: found in their folder, or downloaded, and read in their own layout."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar, Literal

from neuralfx.datasets import catalogue
from neuralfx.datasets.manifest import Recording
from neuralfx.datasets.paired import PairedAudioDataModule
from neuralfx.datasets.prepare import prepare
from neuralfx.datasets.signaltrain_la2a import hyper_rnn_subset
from neuralfx.errors import ConfigError


class _PublicDataModule(PairedAudioDataModule):
    """What the data sets share: the folder is prepared when the recording is first read.

    Knobs are those of the data set: ``knobs``, ``slug`` and ``device_name`` of the base class are for folders of one's
    own.
    """

    dataset: ClassVar[str]

    def __init__(self, root: str | None, device: str | None, download: bool, **options: Any) -> None:
        super().__init__(root or f"data/{self.dataset}", device, **options)
        own = [word for word in ("knobs", "slug", "device_name") if options.get(word) is not None]
        if own:
            raise ConfigError(f"{type(self).__name__}: {own[0]} is known from the data set; leave it out.")
        facts = catalogue.find(self.dataset)
        self.download = download
        self.source = self.source or f"{facts.title}; {facts.homepage}"
        self.licence = self.licence or facts.licence

    @functools.cached_property
    def recording(self) -> Recording:
        """The takes; the first access prepares the folder, and downloads what is missing if that was asked for."""
        root, device, facts = Path(self._source[0]), self._source[1], catalogue.find(self.dataset)
        prepare(facts, root, self.download, device)
        return facts.read(root, device)


class SignalTrainLA2A(_PublicDataModule):
    """SignalTrain LA-2A: about 20 hours of a Teletronix LA-2A, compress and limit, at 44.1 kHz.

    Args:
        root: Folder of the data set; ``data/signaltrain-la2a`` if None.
        subset: ``all`` is the whole set with its official split; ``hyper-rnn`` what paper 2 used: compress mode at 0,
            10, ... 100 %, one knob, to be split in time (80/10/10: ``validation`` [[0.8, 0.9]], ``test`` [[0.9, 1]]).
        download: Whether to download what is missing, about 20 GB.
        options: Arguments of :class:`PairedAudioDataModule`, such as ``lanes``.

    Reference:
        Hawley, Colburn and Mimilakis, "SignalTrain: Profiling Audio Compressors with Deep Neural Networks", AES 147,
        2019.
    """

    dataset = "signaltrain-la2a"

    def __init__(
        self,
        root: str | None = None,
        subset: Literal["all", "hyper-rnn"] = "all",
        download: bool = False,
        **options: Any,
    ) -> None:
        if subset not in ("all", "hyper-rnn"):
            raise ConfigError(f"SignalTrainLA2A: expected subset 'all' or 'hyper-rnn', got {subset!r}.")
        super().__init__(root, None, download, **options)
        self.subset = subset

    @functools.cached_property
    def recording(self) -> Recording:
        """The takes of the subset."""
        whole = super().recording
        return hyper_rnn_subset(whole) if self.subset == "hyper-rnn" else whole


class BossOD3(_PublicDataModule):
    """Boss OD-3 overdrive of paper 2: gain and tone at five positions each, 150 minutes at 48 kHz.

    Without ``validation`` and ``test``, each recording is split as in the paper: 80 % train, 15 % validate, 5 % test.

    Args:
        root: Folder of the data set; ``data/boss-od3`` if None.
        options: Arguments of :class:`PairedAudioDataModule`, such as ``lanes``.

    Reference:
        Yeh et al., "Hyper Recurrent Neural Network: Condition Mechanisms for Black-box Audio Effect Modeling", DAFx
        2024.
    """

    dataset = "boss-od3"

    def __init__(
        self,
        root: str | None = None,
        validation: list[list[float]] | None = None,
        test: list[list[float]] | None = None,
        **options: Any,
    ) -> None:
        if validation is None and test is None:
            validation, test = [[0.80, 0.95]], [[0.95, 1.0]]
        super().__init__(root, None, False, validation=validation, test=test, **options)


class SimionatoVol1(_PublicDataModule):
    """Five devices of paper 1: overdrive pedal, overdrive and filter of a synthesiser, tape saturator, equaliser.

    The published files are those that train and those that test; of the first, a ninth validates, as in the paper.

    Args:
        root: Folder of the data set; ``data/simionato-vol1`` if None.
        device: Which of its devices; may be left out if one is there.
        validation: Ranges of the takes that train, as fractions; the first ninth if None.
        silence_s: The cuts move to the quietest place within so many seconds.
        options: Arguments of :class:`PairedAudioDataModule`, such as ``lanes``.

    Reference:
        Simionato and Fasciani, "Comparative Study of State-based Neural Networks for Virtual Analog Audio Effects
        Modeling", EURASIP Journal on Audio, Speech, and Music Processing, 2025.
    """

    dataset = "simionato-vol1"

    def __init__(
        self,
        root: str | None = None,
        device: str | None = None,
        validation: list[list[float]] | None = None,
        silence_s: float = 2.0,
        **options: Any,
    ) -> None:
        validation = validation or [[0.0, 1 / 9]]
        super().__init__(root, device, False, validation=validation, silence_s=silence_s, **options)


class SimionatoOptical(SimionatoVol1):
    """The optical compressors of paper 1: Teletronix LA-2A (44.1 kHz) and TubeTech CL 1B (48 kHz).

    Splits and arguments are those of :class:`SimionatoVol1`; the folder is ``data/simionato-optical`` if None.
    """

    dataset = "simionato-optical"


class EGFxSet(_PublicDataModule):
    """EGFxSet: 690 notes of an electric guitar through twelve effects at one setting each, at 48 kHz.

    Args:
        root: Folder of the data set; ``data/egfxset`` if None.
        device: Which effect, such as ``tubescreamer``.
        download: Whether to download what is missing.
        options: Arguments of :class:`PairedAudioDataModule`, such as ``lanes``.

    Reference:
        Pedroza et al., "EGFxSet: Electric Guitar Tones Processed Through Real Effects of Distortion, Modulation, Delay
        and Reverb", ISMIR 2022.
    """

    dataset = "egfxset"

    def __init__(
        self, root: str | None = None, device: str | None = None, download: bool = False, **options: Any
    ) -> None:
        super().__init__(root, device, download, **options)


class ToneTwist(_PublicDataModule):
    """ToneTwist AFx: forty pedals, amplifiers, compressors and plug-ins, at 48 kHz.

    Devices whose recordings do not validate by themselves need ``validation`` and ``test`` in fractions.

    Args:
        root: Folder of the data set; ``data/tonetwist`` if None.
        device: Which device, such as ``ampeg-optocomp``; may be left out if one is there.
        download: Whether to download what is missing.
        options: Arguments of :class:`PairedAudioDataModule`, such as ``lanes``.

    Reference:
        Comunità, Steinmetz and Reiss, "Differentiable Black-box and Gray-box Modeling of Nonlinear Audio Effects",
        Frontiers in Signal Processing, 2025.
    """

    dataset = "tonetwist"

    def __init__(
        self, root: str | None = None, device: str | None = None, download: bool = False, **options: Any
    ) -> None:
        super().__init__(root, device, download, **options)


class CoreAudioML(_PublicDataModule):
    """HT-1 and Big Muff pairs of Automated-GuitarAmpModelling, at one setting each, with their split.

    Args:
        root: Folder of the data set; ``data/coreaudioml`` if None.
        device: ``ht1`` or ``muff``; may be left out if one is there.
        options: Arguments of :class:`PairedAudioDataModule`, such as ``lanes``.

    Reference:
        Wright, Damskägg and Välimäki, "Real-time Black-box Modelling with Recurrent Neural Networks", DAFx 2019.
    """

    dataset = "coreaudioml"

    def __init__(self, root: str | None = None, device: str | None = None, **options: Any) -> None:
        super().__init__(root, device, False, **options)
