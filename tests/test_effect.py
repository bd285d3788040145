"""Knobs and effects: ranges, tapers, positions, and the plain form that travels."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from neuralfx.effect import Effect, Knob, Knobs
from neuralfx.errors import FormatError, KnobError, ShapeError


def test_a_linear_knob_maps_its_range_to_0_1() -> None:
    knob = Knob("threshold", -40.0, 0.0, unit="dB")
    np.testing.assert_allclose(knob.normalise([-40, -30, 0]), [0, 0.25, 1])
    assert knob.default == -20.0


def test_a_logarithmic_knob_maps_equal_ratios_to_equal_steps() -> None:
    knob = Knob("cutoff", 20.0, 20_000.0, unit="Hz", taper="logarithmic")
    np.testing.assert_allclose(knob.normalise([20, 200, 2000, 20_000]), [0, 1 / 3, 2 / 3, 1])
    assert knob.default == pytest.approx(math.sqrt(20 * 20_000))


@pytest.mark.parametrize("taper", ["linear", "logarithmic"])
def test_denormalise_inverts_normalise(taper: str) -> None:
    knob = Knob("time", 0.5, 300.0, unit="ms", taper=taper)
    values = np.geomspace(0.5, 300, 9)
    np.testing.assert_allclose(knob.denormalise(knob.normalise(values)), values)


def test_positions_are_spread_evenly() -> None:
    knob = Knob("mode", positions=("off", "low", "high"))
    np.testing.assert_allclose(knob.normalise(["off", "high", "low"]), [0, 1, 0.5])
    assert knob.default == "off"
    assert list(knob.denormalise([0, 0.5, 1])) == ["off", "low", "high"]


@pytest.mark.parametrize("value", [-0.1, 10.5, math.nan, math.inf, "loud", None, True])
def test_a_value_out_of_range_says_the_range(value: object) -> None:
    with pytest.raises(KnobError, match=r"knob drive expects a value in 0 to 10, got"):
        Knob("drive", 0.0, 10.0).normalise(value)


@pytest.mark.parametrize("value", [1e300, -1.7e308, np.full(4, 1e300), [1.0, -1e300, math.nan, 2.0]])
@pytest.mark.parametrize("name", ["drive", "cutoff"])
def test_an_enormous_value_is_out_of_range_too(effect: Effect, name: str, value: object) -> None:
    with pytest.raises(KnobError, match=rf"knob {name} expects a value in"):
        effect.normalise({name: value}, 4)


@pytest.mark.parametrize("value", ["middle", 0, 0.5])
def test_a_wrong_position_says_the_positions(value: object) -> None:
    with pytest.raises(KnobError, match=r"knob mode expects one of soft, hard, got"):
        Knob("mode", positions=("soft", "hard")).normalise(value)


def test_values_rounded_to_float32_still_fit() -> None:
    knob = Knob("mix", 0.0, 0.1)
    assert knob.normalise(np.float32(0.1)) == 1.0


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "Bad Name"}, "a name like"),
        ({"name": "a", "minimum": 1, "maximum": 1}, "minimum below maximum"),
        ({"name": "a", "minimum": math.nan}, "finite numbers"),
        ({"name": "a", "taper": "cubic"}, "a taper among"),
        ({"name": "a", "minimum": 0, "taper": "logarithmic"}, "a minimum above 0"),
        ({"name": "a", "minimum": 5e-324, "taper": "logarithmic"}, "a range that can be computed"),
        ({"name": "a", "minimum": -1e308, "maximum": 1e308}, "a range that can be computed"),
        ({"name": "a", "default": 7}, "a default in"),
        ({"name": "a", "positions": ["one"]}, "two or more"),
        ({"name": "a", "positions": ["one", "one"]}, "two or more"),
        ({"name": "a", "positions": ["one", "two"], "default": "three"}, "a default among"),
        ({"name": "a", "gain": 3}, "unknown field 'gain'"),
        ({"minimum": 3}, "missing field 'name'"),
        (["a"], "expected a mapping"),
    ],
)
def test_a_contradictory_knob_is_refused(fields: dict[str, object], expected: str) -> None:
    with pytest.raises(FormatError, match=expected):
        Knob.from_dict(fields)


@pytest.mark.parametrize(
    "fields",
    [{"slug": "LA 2A"}, {"sample_rate": 44_100.5}, {"sample_rate": -1}, {"channels": 0}, {"knobs": "x"}, {"device": 3}],
)
def test_a_contradictory_effect_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(FormatError, match="effect"):
        Effect.from_dict({"slug": "a", "sample_rate": 48_000, **fields})


def test_knobs_with_the_same_name_are_refused() -> None:
    with pytest.raises(FormatError, match="distinct names"):
        Effect("a", 48_000, Knobs([Knob("x"), Knob("x")]))


def test_normalise_fills_in_defaults_in_order(effect: Effect) -> None:
    np.testing.assert_allclose(effect.normalise(), [0.5, 0.5, 0.0])
    np.testing.assert_allclose(effect.normalise({"mode": "hard", "drive": 10}), [1.0, 0.5, 1.0])


def test_one_moving_knob_makes_all_of_them_signals(effect: Effect) -> None:
    values = effect.normalise({"drive": np.linspace(0, 10, 5), "mode": ["soft", "hard", "hard", "soft", "soft"]}, 5)
    assert values.shape == (5, 3)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[:, 0], np.linspace(0, 1, 5))
    np.testing.assert_allclose(values[:, 2], [0, 1, 1, 0, 0])


def test_an_unknown_knob_lists_the_knobs(effect: Effect) -> None:
    with pytest.raises(KnobError, match=r"tiny has no knob 'gain'. Its knobs are drive \(0 to 10\), cutoff"):
        effect.normalise({"gain": 3})


def test_a_moving_knob_of_the_wrong_length_is_refused(effect: Effect) -> None:
    with pytest.raises(ShapeError, match=r"knob drive: expected one value or an array of 8 values"):
        effect.normalise({"drive": np.zeros(7)}, 8)
    with pytest.raises(ShapeError, match="expected one value, got"):
        effect.normalise({"drive": np.zeros(7)})


def test_an_effect_survives_json(effect: Effect) -> None:
    assert Effect.from_dict(json.loads(json.dumps(effect.to_dict()))) == effect


def test_an_effect_without_knobs_normalises_to_nothing() -> None:
    effect = Effect("plain", 44_100)
    assert effect.normalise().shape == (0,)
    with pytest.raises(KnobError, match="It has no knobs at all"):
        effect.normalise({"gain": 1})


def test_knobs_print_as_a_table(effect: Effect) -> None:
    lines = str(effect.knobs).splitlines()
    assert lines[0].split() == ["knob", "range", "or", "positions", "taper", "default"]
    assert lines[2] == "cutoff  20 to 20000 Hz      logarithmic  632.456 Hz"
    assert effect.knobs["mode"].positions == ("soft", "hard")


@pytest.mark.parametrize(
    ("device", "is_virtual"),
    [
        ("Teletronix LA-2A optical compressor", False),
        ("x42 darc, a virtual compressor", True),
        ("UA Pultec Passive EQ plug-in", True),
        ("Simulated passive equaliser", True),
        ("Virtuoso pedal", False),
        ("", False),
    ],
)
def test_a_device_that_is_a_program_says_so_in_its_name(device: str, is_virtual: bool) -> None:
    assert Effect("it", 48_000, device=device).is_virtual is is_virtual


@pytest.mark.parametrize(
    ("settings", "tied"),
    [
        ([(0.25, 0.7, "a"), (0.5, 0.5, "a"), (0.75, 0.3, "a")], ("level", "tone")),
        ([(0.25, 0.7, "a"), (0.5, 0.5, "a"), (0.75, 0.3, "a"), (0.75, 0.7, "a")], ()),
        ([(0.0, 0.0, "a"), (0.5, 0.1, "b"), (1.0, 0.9, "c")], ("level", "tone", "mode")),
        ([(0.0, 0.5, "a"), (1.0, 0.5, "a"), (0.0, 0.5, "b"), (1.0, 0.5, "b")], ()),
        ([(0.1, 0.5, "a"), (0.1, 0.7, "a")], ()),
        ([(0.0, 0.0, "a"), (0.333, 0.25, "a"), (0.667, 0.5, "a"), (1.0, 0.75, "a")], ("level", "tone")),
        ([], ()),
        ([(0.1, 0.5, "a")], ()),
    ],
)
def test_knobs_that_never_moved_alone_are_named(
    settings: list[tuple[float, float, str]], tied: tuple[str, ...]
) -> None:
    effect = Effect("amp", 48_000, Knobs([Knob("level"), Knob("tone"), Knob("mode", positions=("a", "b", "c"))]))
    assert effect.tied_knobs(dict(zip(effect.knobs.names(), values)) for values in settings) == tied
