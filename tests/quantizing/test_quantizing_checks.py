from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from what_ifs import asked, tensor_of

from quantwidget.quantizing import MAX_GROUP_SIZE, checked, effect_of, parameters_for, quantize
from quantwidget.sketches.channels import MAX_CHANNELS
from quantwidget.wire import WhatIf

SHAPE = (8, 6)


def test_what_does_not_matter_is_left_out():
    found = checked(
        asked(axis=1, group_size=4, percentile=99, low=-1, high=1, range_rule="min_max", narrow_range=True), SHAPE
    )
    assert found == WhatIf(
        number_format="integer",
        bits=8,
        symmetric=True,
        narrow_range=True,
        granularity="per_tensor",
        axis=None,
        group_size=None,
        range_rule="min_max",
        percentile=None,
        low=None,
        high=None,
        scale=None,
        zero_point=None,
    )
    floats = checked(asked(number_format="nf4", bits=4, symmetric=False, narrow_range=True, zero_point=0), SHAPE)
    assert (floats.symmetric, floats.narrow_range, floats.zero_point) == (True, False, None)


def test_a_checked_one_is_the_same_when_checked_again():
    for changes in (
        {"granularity": "per_block", "axis": -1, "group_size": 4, "range_rule": "percentile", "percentile": 99},
        {"symmetric": False, "range_rule": "manual", "low": -1, "high": 2, "zero_point": 3, "scale": 0.5},
    ):
        found = checked(asked(**changes), SHAPE)
        assert checked(found, SHAPE) == checked(asdict(found), SHAPE) == found


def test_numbers_of_numpy_are_numbers():
    found = checked(asked(bits=np.int64(4), granularity="per_axis", axis=np.int8(-1), scale=np.float32(0.5)), SHAPE)
    assert (found.bits, found.axis, found.scale) == (4, 1, 0.5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"number_format": "int9"}, "number_format is one of integer, float8_e4m3fn"),
        ({"number_format": ["integer"]}, "number_format is one of .*, not list"),
        ({"number_format": None}, "number_format is one of"),
        ({"bits": 1}, "integer codes have 2 to 8 bits, not 1"),
        ({"bits": 9}, "not 9"),
        ({"bits": 10**400}, "not a number far beyond"),
        ({"bits": 4.0}, "not 4.0"),
        ({"bits": True}, "not True"),
        ({"bits": None}, "not None"),
        ({"number_format": "nf4", "bits": 8}, "nf4 codes have 4 bits, not 8"),
        ({"symmetric": 1.5}, "symmetric is true or false"),
        ({"narrow_range": "yes"}, "narrow_range is true or false, not 'yes'"),
        ({"narrow_range": []}, "narrow_range is true or false, not list"),
        ({"granularity": "per_row"}, "granularity is one of per_tensor, per_axis, per_block"),
        ({"granularity": "per_axis"}, "per_axis needs an axis"),
        ({"granularity": "per_axis", "axis": 2}, "2 dimensions has no axis 2"),
        ({"granularity": "per_axis", "axis": -3}, "no axis -3"),
        ({"granularity": "per_axis", "axis": 0.0}, "axis is a whole number"),
        ({"granularity": "per_axis", "axis": 10**400}, "axis is a whole number within reason"),
        ({"granularity": "per_block", "axis": 0}, "a group is 1 to 1,048,576 neighbours, not None"),
        ({"granularity": "per_block", "axis": 0, "group_size": 0}, "not 0"),
        ({"granularity": "per_block", "axis": 0, "group_size": MAX_GROUP_SIZE + 1}, "not 1048577"),
        ({"range_rule": "entropy"}, "range_rule is one of min_max, percentile, mse, manual, not 'entropy'"),
        ({"range_rule": "percentile"}, "a percentile is more than 0 and at most 100 percent, not None"),
        ({"range_rule": "percentile", "percentile": 0}, "not 0.0"),
        ({"range_rule": "percentile", "percentile": 100.5}, "not 100.5"),
        ({"percentile": float("nan")}, "percentile is a finite number"),
        ({"range_rule": "manual", "low": 1}, "a clip range ascends"),
        ({"range_rule": "manual", "low": 1, "high": 1}, "1.0 to 1.0 does not"),
        ({"low": float("inf")}, "low is a finite number"),
        ({"high": 1e39}, "float32 holds"),
        ({"high": 10**400}, "high is a finite number that float32 holds, not a number far beyond"),
        ({"high": "1"}, "not '1'"),
        ({"scale": 0}, "a scale is a positive number"),
        ({"scale": -0.5}, "a scale is a positive number"),
        ({"scale": 1e-50}, "a scale is a positive number that float32 holds, not 1e-50"),
        ({"zero_point": 3}, "the zero point of a symmetric quantizer is 0, not 3"),
        ({"symmetric": False, "zero_point": 256}, "a zero point is one of the codes 0 to 255, not 256"),
        ({"symmetric": False, "narrow_range": True, "zero_point": 0}, "codes 1 to 255"),
        ({"zero_point": 1.5}, "zero_point is a whole number"),
        ({"colour": 1}, "no field 'colour'"),
        ({"x" * 5000: 1}, "no field 'x{39}…$"),
    ],
)
def test_the_impossible_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        checked(asked(**changes), SHAPE)
    for carry_out in (parameters_for, quantize, effect_of):
        with pytest.raises(ValueError, match=sentence):
            carry_out(tensor_of(np.zeros(SHAPE, np.float32)), asked(**changes))


@pytest.mark.parametrize("given", [None, 3, [], "integer"])
def test_a_what_if_is_a_mapping(given):
    with pytest.raises(ValueError, match="a mapping of fields"):
        checked(given, SHAPE)


def test_a_scalar_has_no_axis():
    assert checked(asked(), ()).axis is None
    with pytest.raises(ValueError, match="0 dimensions has no axis 0"):
        checked(asked(granularity="per_axis", axis=0), ())


def test_dimensions_are_limited():
    assert checked(asked(granularity="per_axis", axis=15), (1,) * 16).axis == 15
    with pytest.raises(ValueError, match="17 dimensions is not quantized here"):
        checked(asked(), (1,) * 17)
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4, *(1,) * 13)
    assert quantize(tensor_of(array), asked(granularity="per_block", axis=2, group_size=3)).codes.shape == array.shape


def test_scales_are_limited():
    shape = (4, MAX_CHANNELS)
    assert checked(asked(granularity="per_block", axis=1, group_size=4), shape).group_size == 4
    with pytest.raises(ValueError, match="5,592,408 scales are asked for, and at most 4,194,304 are made"):
        checked(asked(granularity="per_block", axis=1, group_size=3), shape)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    st.lists,
    max_leaves=3,
)


@given(st.dictionaries(st.sampled_from(list(WhatIf.__dataclass_fields__)), JSON))
def test_whatever_comes_is_carried_out_or_refused(given):
    array = np.linspace(-1, 1, 48, dtype=np.float32).reshape(SHAPE)
    what_if, refusal = None, ""
    try:
        what_if = checked(asked(**given), SHAPE)
    except ValueError as error:
        refusal = str(error)
    if what_if is None:
        assert 10 < len(refusal) < 300
    else:
        assert effect_of(tensor_of(array), what_if).count == 48
