from __future__ import annotations

import base64
import builtins
import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuralfx.datasets.pickles import load_arrays
from neuralfx.errors import DatasetNotFoundError, FormatError

PROTOCOLS = [2, 3, 4, 5]

# pickle.dumps({"x": np.array([[1.5, -2.5]], np.float32), "z": [np.float64(0.5), 3]}, protocol) under NumPy 1.26.4
NUMPY_1 = {
    2: "fC7DS04P`i0001ZaRFm)b!~8YE@N+UWiD-XY;<X1a&lpL3SV+%V{dMAbaHiLbP90-V{UbAaCr)DWMOi0VR;I114{sfaRg&uV{c?-V{-~+"
    "Zewp`WeRZxSOEY40Ag_lSOx$90Bm7&X>Kub2ZnJ7QgI1~aSBp#3n)tgO94v)hH(sIZgp*Nc?x87d2nS4aSd1k0001HG;t1zh=*|xQgIL{O9NN|"
    "0000yaS={VPD=m(|Nlz=|Ns9>0CaH@Vu@%4SPB3D0002PfIk2LAj5!h6KDs9aTHQ<6?AbHVpstH004S%7hQ1}C}VDQZE$%mV{dY0E^T#ebZKF7"
    "a$$K2b7Ns_VR8y_8E6ey0ssI2W;k&giHL`B8&Yu`C`$uq5l&7{O8@`=|4RS=|Nlz>ba5SGXa!ga00000000000K=d^aUN&~hH)QKaUh0qAyRQ7"
    "O9N$fE&",
    4: "fCQD~000000001elqie=c$AD4Zgp*Nc`jpba%C=Ub!>ELVRCX|d6bL{Uvgz*Z*FsRa&=>Ll#`T<1#We1aCwxB2X16xa&lpLl#`T80ELu8"
    "0b-Pglv0!^O94v(O9F<JXa$S~WOR9OWt5YYi~?pfl!=Iklv0!^O9PAnJd{pOPD=m(|Nlz=|Ns9>0CbdMi9-kg0Kh*003g7Wbd+L@0eX~OlqhHd"
    "j0SUKVQgV?l#`Tb4vYe3IFyNqhm=y3C`$uq5>8G|O8@`=|4RS=|Nlz>bd+L42mk;80002sKa_@)Qj|*rWpyq",
    5: "fCZK1000000001elqie=c$AD1Zgp*Nc`jpba%C=Vb!}yGX=9X(3twh(Z*5|AW@cq_l#`SwmIwd<000000002MKL7wAz?6&yZgp*Nd6bL=WOR9O"
    "Wt5YYi~?pfl!=Iklv0!^O9PAnJd{pOPD=m(|Nlz=|Ns9>0CbdMO94v)hLnr}LzHxsQk0AVdX!z1D2x?ub!~8YE@N+UWiD-XY;<X1a&lpLl#B**"
    "V_|Gza+H&lXb6k~W;m3Ih=-I?lqgFBXbetHPD=m(|Nlz=|Ns9>0CbdMLkIu>00000;6Idxlv0#S17&qC",
}


def save(folder: Path, content: bytes) -> Path:
    path = folder / "data.pickle"
    path.write_bytes(content)
    return path


def load(folder: Path, content: Any, protocol: int = 4) -> dict[str, Any]:
    return load_arrays(save(folder, pickle.dumps(content, protocol)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.linspace(-1, 1, 5000, dtype=np.float32).reshape(2, 2500),
        np.linspace(-1, 1, 12).reshape(3, 4).T,
        np.arange(6, dtype=">f8").reshape(2, 3)[:, ::2],
        np.array([1, -2, 3], dtype=np.int16),
        np.array([[True], [False]]),
        np.array(0.5),
    ],
    ids=["plain", "fortran", "strided", "integers", "booleans", "scalar"],
)
def test_arrays_come_back_as_they_were(tmp_path: Path, protocol: int, array: np.ndarray[Any, Any]) -> None:
    found = load(tmp_path, {"x": array, "name": "amp", "again": array}, protocol)
    assert found.keys() == {"x", "again"}
    np.testing.assert_array_equal(found["x"], array)
    assert found["x"].dtype == array.dtype
    assert not found["x"].flags.writeable


@pytest.mark.parametrize("protocol", [3, 4, 5])  # protocol 2 writes no bytes as a call
def test_empty_arrays_come_back(tmp_path: Path, protocol: int) -> None:
    assert load(tmp_path, {"x": np.zeros((1, 0), np.float32)}, protocol)["x"].shape == (1, 0)


@pytest.mark.parametrize("protocol", sorted(NUMPY_1))
def test_pickles_of_numpy_1_are_read_too(tmp_path: Path, protocol: int) -> None:
    found = load_arrays(save(tmp_path, base64.b85decode(NUMPY_1[protocol])))
    np.testing.assert_array_equal(found["x"], np.array([[1.5, -2.5]], dtype=np.float32))
    np.testing.assert_array_equal(found["z"], [0.5, 3.0])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_lists_of_numbers_and_of_rows_become_arrays(tmp_path: Path, protocol: int) -> None:
    rows = [[0.25, np.float32(0.5)], [1, 300], (70_000, -(2**40))]
    content = {"z": rows, "x": [np.ones(3, np.float32), np.zeros(3, np.float32)], "n": [1, 2.5]}
    found = load(tmp_path, content, protocol)
    np.testing.assert_array_equal(found["z"], np.array(rows, dtype=np.float64))
    assert (found["x"].dtype, found["x"].shape) == (np.float32, (2, 3))
    np.testing.assert_array_equal(found["n"], [1.0, 2.5])


def test_what_is_no_array_is_left_out(tmp_path: Path) -> None:
    content = {"none": None, "text": "abc", "ragged": [[1.0], [1.0, 2.0]], "deep": [[[1.0]]], "of": {"x": 1}, "x": [1]}
    assert load(tmp_path, {**content, "yes": True, "bytes": b"ab", "words": ["a"], "nothing": []}).keys() == {"x"}


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_are_views_of_the_file(tmp_path: Path, protocol: int) -> None:
    path = save(tmp_path, pickle.dumps({"x": np.ones((4, 500_000))}, protocol))  # 16 MB
    tracemalloc.start()
    try:
        found = load_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()
    assert found["x"].sum() == 2_000_000


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


class Stateful(Call):
    """Pickles as a call whose result is given a state."""

    def __init__(self, state: Any, function: Callable[..., Any], *arguments: Any) -> None:
        self.reduced = (function, arguments, state)  # type: ignore[assignment]


EMPTY: Any = np.zeros(0).__reduce__()[0]  # _reconstruct
SCALAR: Any = np.float32(0).__reduce__()[0]


def object_array(item: Any) -> Any:
    array = np.empty(1, dtype=object)
    array[0] = item
    return array


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda call: call,
        lambda call: {"x": call},
        lambda call: {"x": np.ones(3), "z": [[call]]},
        lambda call: {"x": object_array(call)},
        lambda call: {"x": Stateful((1, (2,), np.dtype("f8"), False, call), EMPTY, np.ndarray, (0,), b"b")},
        lambda call: {"x": Call(SCALAR, np.dtype("f4"), call)},
        lambda call: {"x": Call(np.dtype, call)},
    ],
    ids=["bare", "value", "nested", "object array", "state", "scalar", "dtype"],
)
@pytest.mark.parametrize(
    "function", [os.system, builtins.eval, builtins.exec, os.mkdir, np.load], ids=lambda function: function.__name__
)
def test_a_call_is_refused_and_never_run(
    tmp_path: Path, protocol: int, wrap: Callable[[Any], Any], function: Callable[..., Any]
) -> None:
    marker = tmp_path / "ran"
    arguments = {
        os.system: f"touch {marker}",
        builtins.eval: f"__import__('os').mkdir({str(marker)!r})",
        builtins.exec: f"import os; os.mkdir({str(marker)!r})",
        os.mkdir: str(marker),
    }
    call = Call(function, arguments.get(function, str(marker)))
    with pytest.raises(FormatError, match="nothing was run"):
        load(tmp_path, wrap(call), protocol)
    assert not marker.exists()


def test_the_marker_would_be_there_if_it_ran(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Call(os.mkdir, str(tmp_path / "ran"))))
    assert (tmp_path / "ran").exists()


def test_the_error_says_what_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=rf"data\.pickle: asks for {os.system.__module__}\.system at byte \d+"):
        load(tmp_path, Call(os.system, "true"))
    with pytest.raises(FormatError) as caught:
        load_arrays(save(tmp_path, b"cos\x1b[2J\r\nsystem\n."))
    assert str(caught.value).isprintable()


DTYPE_F8 = b"cnumpy\ndtype\n\x8c\x02f8\x85R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
ARRAY = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
SET_STATE = b"(K\x01%s" + DTYPE_F8 + b"\x89C\x08" + bytes(8) + b"tb"
RECONSTRUCT = b"cnumpy._core.multiarray\n_reconstruct\n"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"(S'true'\nios\nsystem\n.", "instruction STRING"),
        (b"(ios\nsystem\n.", "instruction INST"),
        (b"(cos\nsystem\nX\x04\x00\x00\x00trueo.", r"os\.system"),
        (b"cbuiltins\neval\n.", r"builtins\.eval"),
        (b"c__builtin__\ngetattr\n.", r"__builtin__\.getattr"),
        (b"\x8c\x02os\x8c\x06system\x93.", r"os\.system"),
        (b"\x8c\x05numpy\x8c\x0endarray.tofile\x93.", r"ndarray\.tofile"),
        (b"cnumpy\nmemmap\n.", r"numpy\.memmap"),
        (b"\x82\x01.", "instruction EXT1"),
        (b"\x83\x01\x00.", "instruction EXT2"),
        (b"\x84\x01\x00\x00\x00.", "instruction EXT4"),
        (b"Pid\n.", "instruction PERSID"),
        (b"K\x01Q.", "instruction BINPERSID"),
        (b"\x97.", "instruction NEXT_BUFFER"),
        (b"cnumpy\nndarray\nK\x04\x85\x81.", "instruction NEWOBJ"),
        (b"cnumpy\nndarray\n)}\x92.", "instruction NEWOBJ_EX"),
        (b"I1\n.", "instruction INT"),
        (b"\x8b\xff\xff\xff\x7f.", "instruction LONG4"),
        (b"\xff.", "instruction ff"),
        (b"cnumpy\nndarray\nK\x04\x85R.", "call of NumPy's array"),
        (RECONSTRUCT + b"cnumpy\ndtype\nK\x00\x85C\x01b\x87R.", "other arguments"),
        (RECONSTRUCT + b"K\x01K\x02K\x03\x87R.", "other arguments"),
        (b"cnumpy\ndtype\n\x8c\x02O8\x85R.", "type O8"),
        (b"cnumpy\ndtype\n\x8c\x03V16\x85R.", "type V16"),
        (b"cnumpy\ndtype\n\x8c\x12f8,f8,999999999999\x85R.", "type f8,f8"),
        (b"cnumpy\ndtype\n}\x85R.", "unknown array type"),
        (DTYPE_F8.replace(b"<NNN", b"<N\x8c\x01aN") + b".", "fields or metadata"),
        (DTYPE_F8.replace(b"<NNN", b"<}NN") + b".", "fields or metadata"),
        (DTYPE_F8.replace(b"tb", b"}tb") + b".", "fields or metadata"),
        (DTYPE_F8.replace(b"\x01<", b"\x01=") + b".", "fields or metadata"),
        (ARRAY + SET_STATE % b"K\x02\x85" + b".", "an array of 16 bytes that holds 8"),
        (
            ARRAY + SET_STATE % b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x1f\x85" + b".",
            r"an array of 1\.84467e\+19 bytes",
        ),
        (ARRAY + SET_STATE % (b"(" + 9 * b"K\x01" + b"t") + b".", "9 dimensions"),
        (ARRAY + SET_STATE % b"J\xff\xff\xff\xff\x85" + b".", "without a shape"),
        (ARRAY + SET_STATE % (b"G\x3f\xf0" + 6 * b"\x00" + b"\x85") + b".", "without a shape"),
        (ARRAY + SET_STATE.replace(b"C\x08" + bytes(8), b"]N\x61") % b"K\x01\x85" + b".", "array of objects"),
        (b"}}\x8c\x01aK\x01sb.", "setting the state of dict"),
        (b"cnumpy\nndarray\n}b.", "setting the state of NumPy's array"),
        (ARRAY + b"}b.", "setting the state of an array"),
        (ARRAY + b"]K\x01a\x61.", "appending to an array"),
        (b"})K\x01s.", "tuple as a key"),
        (b"K\x01K\x02a.", "appending to int"),
        (b"c_codecs\nencode\n\x8c\x01a\x8c\x04zlib\x86R.", "other arguments"),
        (b"c_codecs\nencode\n\x8c\x01aK\x01\x86R.", "other arguments"),
        (b"N)R.", "call of nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_everything_that_is_no_array_of_numbers_is_refused(tmp_path: Path, program: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        load_arrays(save(tmp_path, program))


def test_the_pieces_of_the_refused_programs_are_right(tmp_path: Path) -> None:
    program = b"}\x8c\x01x" + ARRAY + SET_STATE % b"K\x01\x85" + b"s."
    assert pickle.loads(program)["x"] == load_arrays(save(tmp_path, program))["x"] == [0.0]


@pytest.mark.parametrize(
    "program",
    [
        b"\x8e" + struct.pack("<Q", 2**62) + b"abc.",
        b"\x96" + struct.pack("<Q", 2**62) + b"abc.",
        b"\x8d" + struct.pack("<Q", 2**40) + b"abc.",
        b"\x95" + struct.pack("<Q", 2**62) + b"Nr\xff\xff\xff\xffj\xff\xff\xff\xff.",  # a place in a table of 4e9
        b"}\x94" * 200_000 + b".",
        b"]" * 300_000,
        b"K\x01" + b"\x85" * 190_000 + b".",
        b"}K\x01" + b"\x85" * 190_000 + b"K\x02s.",
        b"c_codecs\nencode\nq\x00\x8c\xff" + 255 * b"a" + b"q\x01" + b"h\x00h\x01\x8c\x06latin1\x86R" * 10_000 + b".",
    ],
    ids="bytes bytearray text memo dicts lists tuples key encode".split(),
)
def test_small_files_take_little_memory_whatever_they_claim(tmp_path: Path, program: bytes) -> None:
    path = save(tmp_path, program)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            load_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


def test_a_row_that_is_named_again_and_again_is_not_copied(tmp_path: Path) -> None:
    row = list(map(float, range(1000)))
    assert load(tmp_path, {"z": [row] * 100_000}) == {}
    assert load(tmp_path, {"z": [np.zeros(1000)] * 2})["z"].shape == (2, 1000)
    wide = np.zeros(1000)
    assert load(tmp_path, {"z": [wide] * 100_000}) == {}


def test_lists_that_hold_themselves_are_left_out(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert load(tmp_path, {"x": loop}) == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_told(tmp_path: Path, protocol: int) -> None:
    whole = pickle.dumps({"x": np.ones((2, 3)), "z": [[1, 2.5]]}, protocol)
    for length in range(1, len(whole), 3):
        with pytest.raises(FormatError):
            load_arrays(save(tmp_path, whole[:length]))


def test_random_damage_raises_one_kind_of_error(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for protocol in PROTOCOLS:
        whole = pickle.dumps({"x": np.ones((2, 3), np.float32), "z": [[1, np.float32(2.5)], (3, 4)]}, protocol)
        for _ in range(200):
            damaged = bytearray(whole)
            for place in generator.integers(0, len(whole), generator.integers(1, 6)):
                damaged[place] = generator.integers(0, 256)
            try:
                load_arrays(save(tmp_path, bytes(damaged)))
            except FormatError as error:
                assert "\n" not in str(error)


def test_other_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="no file"):
        load_arrays(tmp_path / "missing.pickle")
    with pytest.raises(FormatError, match="got 0"):
        load_arrays(save(tmp_path, b""))
    with pytest.raises(FormatError, match="of 1 to 10 bytes, got"):
        load_arrays(save(tmp_path, pickle.dumps({"x": np.ones(9)})), limit_bytes=10)
    with pytest.raises(FormatError, match="expected a pickled dictionary of arrays, got list"):
        load(tmp_path, [1, 2])
    with pytest.raises(FormatError, match="asks for the instruction"):
        load_arrays(save(tmp_path, b"PK\x03\x04 an archive"))
    with pytest.raises(FormatError, match="makes no sense at byte"):
        load_arrays(save(tmp_path, b"\x80\x04a."))
