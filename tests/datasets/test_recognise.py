from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neuralfx.datasets.recognise import LAYOUTS, read_folder
from neuralfx.errors import ConfigError, DatasetNotFoundError, FormatError
from tests.data.generate import write_recordings
from tests.data.layouts import (
    OPTOCOMP,
    write_boss_od3,
    write_egfxset,
    write_prepared_od3,
    write_signaltrain,
    write_single_pair,
    write_split_pairs,
    write_tonetwist,
    write_tonetwist_big_muff,
    write_tonetwist_dry,
)


def write_optocomp(root: Path) -> Path:
    write_tonetwist_dry(root)
    return write_tonetwist(root, settings=OPTOCOMP[:1]).parent


# Writer, index of the layout that reads it, and the effect.
FOLDERS: list[tuple[Callable[[Path], Path], int, str]] = [
    (lambda root: write_signaltrain(root, (138, 139)), 0, "la2a"),
    (lambda root: write_signaltrain(root, (138, 139)).parent, 0, "la2a"),
    (lambda root: write_boss_od3(root, (0, 1)), 1, "od3"),
    (write_prepared_od3, 1, "od3"),
    (lambda root: write_egfxset(root, ("RAT",)), 2, "rat"),
    (write_optocomp, 3, "ampeg-optocomp"),
    (write_tonetwist_big_muff, 3, "electroharmonix-bigmuff"),
    (lambda root: write_split_pairs(root, ("ht1",)), 4, "ht1"),
    (lambda root: write_single_pair(root / "My Amp"), 5, "my-amp"),
]


@pytest.mark.parametrize(("write", "layout", "slug"), FOLDERS)
def test_each_layout_is_read_as_itself_and_fits_no_other(
    tmp_path: Path, write: Callable[[Path], Path], layout: int, slug: str
) -> None:
    root = write(tmp_path)
    assert [index for index, other in enumerate(LAYOUTS) if other.recognises(root)] == [layout]
    assert read_folder(root).effect.slug == slug
    assert read_folder(str(root), slug="mine", device_name="My own").effect.slug == "mine"


@pytest.mark.parametrize(("write", "layout", "slug"), FOLDERS)
def test_a_manifest_comes_before_any_layout(
    tmp_path: Path, write: Callable[[Path], Path], layout: int, slug: str
) -> None:
    root = write(tmp_path)
    write_recordings(root)
    assert read_folder(root).effect.slug == "toy-amp"


def test_a_manifest_with_a_missing_file_is_not_passed_over(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    (tmp_path / "toy_amp" / "take1.wav").unlink()  # leaves two files, which are no pair without knobs
    for root in (tmp_path, tmp_path / "toy_amp"):
        with pytest.raises(DatasetNotFoundError, match=r"take1\.wav"):
            read_folder(root)


def test_a_folder_beside_those_of_a_manifest_is_read_by_itself(tmp_path: Path) -> None:
    write_recordings(tmp_path)
    assert read_folder(write_single_pair(tmp_path / "other")).effect.slug == "other"


def test_errors_of_the_layout_that_fits_are_final(tmp_path: Path) -> None:
    write_single_pair(tmp_path, "a.wav", "b.wav")
    with pytest.raises(FormatError, match="tell input and output apart"):
        read_folder(tmp_path)


def test_knobs_are_declared_for_manifests_only(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a single pair .* leave knobs out"):
        read_folder(write_single_pair(tmp_path), knobs=[{"name": "gain"}])


def test_other_folders_are_answered_with_what_is_understood(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(DatasetNotFoundError) as error:
        read_folder(tmp_path)
    assert all(layout.description in str(error.value) for layout in LAYOUTS)
    (tmp_path / "recordings.json").write_text(json.dumps({"takes": []}))
    with pytest.raises(FormatError, match="at least one"):
        read_folder(tmp_path)


def test_reading_a_folder_does_not_import_torch(tmp_path: Path) -> None:
    code = f"""
import sys
from neuralfx.datasets.recognise import read_folder
read_folder({str(write_single_pair(tmp_path))!r})
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
