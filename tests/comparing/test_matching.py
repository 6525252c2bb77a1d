"""Tensors find what they stand for, by whatever tells it, and nothing that a file holds raises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import model, plain, quantized
from torch.nn.utils.fusion import fuse_conv_bn_weights

from quantwidget.comparing import compare, match_tensors, shortlists
from quantwidget.comparing.pairs import reference_of
from quantwidget.comparing.reading import whole


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def rounded(name, weight, bits=8, axis=None, **changes):
    """A weight as symmetric codes, with one scale or one for each index of an axis."""
    others = tuple(place for place in range(weight.ndim) if axis is None or place != axis)
    scale = np.maximum(np.abs(weight).max(axis=others, keepdims=True), 1e-30) / (2 ** (bits - 1) - 1)
    codes = np.rint(weight / scale).astype(np.int8)
    blocks = (
        None if axis is None else tuple(1 if place == axis else length for place, length in enumerate(weight.shape))
    )
    return quantized(name, codes, scale, block_shape=blocks, **changes)


def partners(matching):
    return {name: pair.reference for name, pair in matching.pairs.items()}


def norm_of(rng, layer, channels):
    return {
        f"{layer}.weight": rng.uniform(0.3, 3, channels) * rng.choice([-1, 1], channels, p=[0.1, 0.9]),
        f"{layer}.bias": rng.normal(size=channels),
        f"{layer}.running_mean": rng.normal(size=channels),
        f"{layer}.running_var": rng.uniform(0.01, 4, channels),
    }


def fused(weight, bias, norm, layer, eps):
    """Torch's own folding, in float64."""
    parts = [torch.from_numpy(np.asarray(norm[f"{layer}.{role}"])) for role in ("running_mean", "running_var")]
    own = None if bias is None else torch.from_numpy(bias)
    gamma, beta = (torch.from_numpy(norm[f"{layer}.{role}"]) for role in ("weight", "bias"))
    found = fuse_conv_bn_weights(torch.from_numpy(weight), own, *parts, eps, gamma, beta)
    return [part.detach().numpy() for part in found]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("conv1.weight", "conv1.weight"),
        ("conv1.weight_quantized", "conv1.weight"),
        ("module.conv1.weight", "conv1.weight"),
        ("model.layer1.0.conv1.weight", "layer1.0.conv1.weight"),
        ("layer1.0._packed_params.weight", "layer1.0.weight"),
        ("_orig_mod.features.3.weight_q", "features.3.weight"),
        ("backbone.stem.weight", "stem.weight"),
        ("dense.kernel:0", "dense/weight"),
        ("/layer1/layer1.0/conv1/weight_quantized", "layer1.0.conv1.weight"),
        ("fc.weight", "ema.student.fc.weight"),
        ("Conv1.Weight_DequantizeLinear_2", "conv1.weight"),
        ("layers.0.mlp.parametrizations.weight.original", "layers.0.mlp.weight"),
    ],
)
def test_names_of_frameworks_and_quantizers_are_seen_through(rng, name, other):
    weights = rng.normal(size=(2, 6, 5))
    ours = model(rounded(name, weights[0]), rounded(name.replace("1", "8").replace("e", "u"), weights[1]))
    theirs = model(plain(other, weights[0]), plain("quite.different", weights[1]))
    pair = match_tensors(ours, theirs, content=False).pairs[name]
    assert (pair.reference, pair.how, pair.cosine) == (other, "name", None)
    pair = match_tensors(ours, theirs).pairs[name]
    assert (pair.reference, pair.how, pair.is_doubtful) == (other, "name", False)
    assert pair.cosine > 0.999


def test_a_start_that_only_one_side_has_tells_nothing(rng):
    names = ["fc.weight", "a.b.weight", "a.c.weight"]
    for start in ("", "ema.student."):
        ours = model(*(plain(f"backbone.{name}", rng.normal(size=(4, 5))) for name in names))
        theirs = model(*(plain(start + name, rng.normal(size=(4, 5))) for name in reversed(names)))
        found = match_tensors(ours, theirs, content=False).pairs.values()
        assert [(pair.name[9:], pair.how) for pair in found] == [(name, "name") for name in names]
        assert all(pair.reference == start + pair.name[9:] for pair in found)


def test_an_ending_that_several_have_is_left_to_the_values(rng):
    weights = rng.normal(size=(2, 4, 5))
    ours = model(rounded("fc.weight", weights[1]))
    theirs = model(plain("student.fc.weight", weights[0]), plain("teacher.fc.weight", weights[1]))
    assert not match_tensors(ours, theirs, content=False).pairs
    assert match_tensors(ours, theirs).pairs["fc.weight"].reference == "teacher.fc.weight"


def test_names_of_llama_cpp_are_those_of_transformers(rng):
    names = {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.0.attn_q.weight": "model.layers.0.self_attn.q_proj.weight",
        "blk.1.attn_q.weight": "model.layers.1.self_attn.q_proj.weight",
        "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
        "blk.0.attn_norm.weight": "model.layers.0.input_layernorm.weight",
        "output.weight": "lm_head.weight",
    }
    ours = model(*(plain(name, rng.normal(size=(4, 8))) for name in names))
    ours.format = "gguf"
    theirs = model(*(plain(name, rng.normal(size=(4, 8))) for name in names.values()))
    assert partners(match_tensors(ours, theirs, content=False)) == names


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([4, 8]), st.sampled_from(["same", "none"]))
def test_shuffled_names_of_equal_shapes_are_seen_through_by_content(seed, bits, names):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 12))
    weights = rng.normal(size=(count, 8, 4, 3, 3))
    order = rng.permutation(count)
    ours = model(
        *(rounded(f"{'l' if names == 'same' else 'x'}{i}.weight", weights[order[i]], bits) for i in range(count))
    )
    theirs = model(*(plain(f"l{i}.weight", weights[i]) for i in range(count)))
    matching = match_tensors(ours, theirs)
    assert list(partners(matching).values()) == [f"l{i}.weight" for i in order]
    assert not matching.doubtful
    assert not matching.unmatched
    assert not matching.unmatched_reference


@settings(max_examples=25)
@given(st.data(), st.integers(0, 2**32 - 1))
def test_layouts_are_found_and_read_back(data, seed):
    rng = np.random.default_rng(seed)
    layout = data.draw(
        st.sampled_from([(0, 1, 2, 3), (0, 2, 3, 1), (2, 3, 1, 0), (3, 2, 0, 1), (1, 0, 2, 3), (0, 3, 1, 2)])
    )
    shape = data.draw(
        st.sampled_from([(6, 5, 3, 3), (6, 6, 3, 3), (4, 4, 4, 4), (7, 1, 3, 3), (8, 5, 1, 1), (9, 1, 1, 2)])
    )
    weight = rng.normal(size=shape)
    ours = model(rounded("a.weight", weight.transpose(layout), axis=0))
    theirs = model(plain("b.kernel", weight))
    (pair,) = match_tensors(ours, theirs).pairs.values()
    shown = reference_of(pair, theirs).read(whole(ours.tensors["a.weight"].shape))
    np.testing.assert_array_equal(shown, weight.transpose(layout))


def test_a_matched_layer_tells_its_other_tensors(rng):
    first, second = rng.normal(size=(2, 6, 7)), rng.normal(size=(2, 6))
    ours = model(
        *(part for i in range(2) for part in (rounded(f"n{i}.weight", first[i]), plain(f"n{i}.bias", second[i])))
    )
    theirs = model(
        *(part for i in (1, 0) for part in (plain(f"m{i}.weight", first[i].T.copy()), plain(f"m{i}.bias", second[i])))
    )
    matching = match_tensors(ours, theirs)
    assert partners(matching) == {f"n{i}.{role}": f"m{i}.{role}" for i in range(2) for role in ("weight", "bias")}
    assert matching.pairs["n0.weight"].permutation == (1, 0)
    assert matching.pairs["n0.bias"].how == "layer"


def test_a_layer_that_the_caller_names_tells_the_rest_of_it(rng):
    names = [f"{layer}.{role}" for layer in ("a", "b") for role in ("first", "second")]
    ours = model(*(plain(f"x{name}", rng.normal(size=(5, 4))) for name in names))
    theirs = model(*(plain(f"y{name}", rng.normal(size=(5, 4))) for name in reversed(names)))
    matching = match_tensors(ours, theirs, {"xa.first": "yb.first", "xb.first": "ya.first"}, content=False)
    assert partners(matching) == {
        "xa.first": "yb.first", "xa.second": "yb.second", "xb.first": "ya.first", "xb.second": "ya.second"
    }  # fmt: skip
    assert matching.pairs["xa.second"].how == "layer"


@settings(max_examples=20)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-5, 1e-3]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["bn{}", "block.{}.bn", "norm.{}", "zz{}"]),
)
def test_folded_batch_normalization_is_found_and_equals_that_of_torch(seed, eps, has_bias, is_named, norm_name):
    rng = np.random.default_rng(seed)
    ours, theirs, expected = [], [], {}
    for number in range(3):
        weight = rng.normal(size=(8, 8, 3, 3))
        bias = rng.normal(size=8) if has_bias else None
        layer = norm_name.format(number)
        norm = norm_of(rng, layer, 8)
        theirs.append(plain(f"conv{number}.weight", weight))
        theirs += [] if bias is None else [plain(f"conv{number}.bias", bias)]
        theirs += [plain(name, array) for name, array in norm.items()]
        folded, added = fused(weight, bias, norm, layer, eps)
        name = f"conv{number}" if is_named else f"x{number}"
        ours += [rounded(f"{name}.weight", folded, axis=0), plain(f"{name}.bias", added.astype(np.float32))]
        expected |= {f"{name}.weight": folded, f"{name}.bias": added}
    # The middle one of three layers has kept its own: nothing was folded in.
    kept = rng.normal(size=(8, 8, 3, 3))
    theirs.append(plain("kept.weight", kept))
    ours.append(rounded("kept.weight", kept, axis=0))
    index, reference = model(*ours), model(*theirs)
    matching = match_tensors(index, reference)
    assert not matching.unmatched
    assert not matching.doubtful
    assert matching.pairs["kept.weight"].folding is None
    for name, array in expected.items():
        pair = matching.pairs[name]
        assert pair.folding.eps == eps
        assert len(pair.folded) == 4
        np.testing.assert_allclose(
            reference_of(pair, reference).read(whole(array.shape)), array, rtol=1e-12, atol=1e-12
        )
        assert compare(index.tensors[name], reference, pair).sqnr_db > 35
    assert {name for name in reference.tensors if "running" in name} <= matching.unmatched_reference.keys()
    assert "it is folded into" in matching.unmatched_reference[f"{norm_name.format(0)}.running_var"]


def test_a_batch_normalization_that_has_its_own_counterpart_is_not_folded(rng):
    weight, norm = rng.normal(size=(8, 4, 3, 3)), norm_of(rng, "bn", 8)
    parts = [plain(name, array) for name, array in norm.items()]
    ours = model(rounded("conv.weight", weight), *parts)
    matching = match_tensors(ours, model(plain("conv.weight", weight), *parts))
    assert len(matching.pairs) == 5
    assert all(pair.folding is None for pair in matching.pairs.values())


@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_a_multiplication_and_an_addition_are_folded_like_a_batch_normalization(rng, layout):
    weight, bias = rng.normal(size=(8, 4, 3, 3)), rng.normal(size=8)
    factor, added = rng.uniform(0.2, 5, (1, 8, 1, 1)), rng.normal(size=(1, 8, 1, 1))
    folded = (weight * factor.reshape(8, 1, 1, 1)).transpose(layout)
    summed = (bias * factor.reshape(8) + added.reshape(8)).astype(np.float32)
    index = model(rounded("x.weight", folded, axis=0), plain("x.bias", summed))
    reference = model(
        plain("conv.weight", weight), plain("conv.bias", bias), plain("c.other", rng.normal(size=(1, 8, 1, 1))),
        plain("c.mul", factor), plain("c.add", added),
    )  # fmt: skip
    matching = match_tensors(index, reference)
    assert matching.pairs["x.weight"].folded == ("c.mul",)
    assert matching.pairs["x.bias"].folded == ("c.mul", "c.add")
    found = reference_of(matching.pairs["x.weight"], reference).read(whole(folded.shape))
    np.testing.assert_allclose(found, folded, rtol=1e-15)
    assert compare(index.tensors["x.bias"], reference, matching.pairs["x.bias"]).sqnr_db > 120
    assert set(matching.unmatched_reference) == {"c.other", "c.mul", "c.add"}


def test_a_bias_that_the_caller_pairs_is_left_alone(rng):
    weight, bias, norm = rng.normal(size=(8, 4, 3, 3)), rng.normal(size=8), norm_of(rng, "bn", 8)
    folded, added = fused(weight, bias, norm, "bn", 1e-5)
    ours = model(rounded("conv.weight", folded, axis=0), plain("conv.bias", added))
    theirs = model(
        plain("conv.weight", weight), plain("conv.bias", bias), *(plain(name, array) for name, array in norm.items())
    )
    assert match_tensors(ours, theirs).pairs["conv.bias"].folding is not None
    pair = match_tensors(ours, theirs, {"conv.bias": "conv.bias"}).pairs["conv.bias"]
    assert (pair.how, pair.folding) == ("given", None)


def test_factors_of_channels_that_nothing_tells_make_a_match_doubtful(rng):
    weight = rng.normal(size=(8, 4, 3, 3))
    factor = rng.uniform(0.5, 2, (8, 1, 1, 1))
    pair = match_tensors(model(rounded("w", weight * factor, axis=0)), model(plain("w", weight))).pairs["w"]
    assert pair.is_doubtful
    assert "each channel is a multiple" in pair.sentence
    low = match_tensors(model(rounded("w", weight, bits=2)), model(plain("w", weight))).pairs["w"]
    assert not low.is_doubtful


def test_a_name_that_the_values_deny_is_doubtful(rng):
    ours, theirs = (
        model(rounded("a.weight", rng.normal(size=(40, 30)))),
        model(plain("a.weight", rng.normal(size=(40, 30)))),
    )
    matching = match_tensors(ours, theirs)
    assert matching.doubtful == ["a.weight"]
    assert "doubtful: cosine" in matching.pairs["a.weight"].sentence
    assert match_tensors(ours, theirs, content=False).doubtful == []


def test_duplicates_are_matched_in_order(rng):
    weight, other = rng.normal(size=(2, 16, 8))
    ours = model(*(rounded(f"x{i}.weight", other if i == 3 else weight) for i in range(6)))
    theirs = model(*(plain(f"y{i}.weight", other if i == 3 else weight) for i in range(6)))
    assert partners(match_tensors(ours, theirs)) == {f"x{i}.weight": f"y{i}.weight" for i in range(6)}
    fewer = model(*(rounded(f"x{i}.weight", weight) for i in range(3)))
    assert len(set(partners(match_tensors(fewer, theirs)).values())) == 3


def test_zeros_are_matched_by_name_alone(rng):
    zeros = np.zeros((6, 8))
    ours = model(plain("a.weight", zeros), plain("x.weight", zeros), plain("y.weight", zeros))
    theirs = model(plain("a.weight", zeros), *(plain(f"z{i}.weight", rng.normal(size=(6, 8))) for i in range(3)))
    matching = match_tensors(ours, theirs)
    assert partners(matching) == {"a.weight": "a.weight"}
    assert "its values are zero" in matching.unmatched["x.weight"]
    assert len(matching.unmatched_reference) == 3


def test_zeros_for_something_else_are_doubtful(rng):
    ours, theirs = model(plain("a.weight", np.zeros((6, 8)))), model(plain("a.weight", rng.normal(size=(6, 8))))
    pair = match_tensors(ours, theirs).pairs["a.weight"]
    assert pair.is_doubtful
    assert "all zeros" in pair.sentence


def test_a_sample_of_zeros_is_followed_by_a_larger_one(rng):
    weight = np.zeros((256, 256))
    weight[:8] = rng.normal(size=(8, 256))
    pair = match_tensors(model(rounded("a.weight", weight)), model(plain("a.weight", weight))).pairs["a.weight"]
    assert pair.cosine > 0.999
    assert "65,536 elements" in pair.sentence


def test_empty_tensors_are_matched_by_name():
    empty = np.zeros((0, 4), np.float32)
    matching = match_tensors(model(plain("a.weight", empty)), model(plain("a.weight", empty)))
    assert partners(matching) == {"a.weight": "a.weight"}
    assert not matching.doubtful


def test_nothing_in_common_is_listed_on_both_sides_with_reasons(rng):
    ours = model(*(rounded(f"x{i}.weight", rng.normal(size=(9, 7))) for i in range(4)), plain("s", 1.0))
    theirs = model(*(plain(f"y{i}.weight", rng.normal(size=(9, 7))) for i in range(5)), plain("t", np.zeros(3)))
    matching = match_tensors(ours, theirs)
    assert not matching.pairs
    assert list(matching.unmatched) == list(ours.tensors)
    assert list(matching.unmatched_reference) == list(theirs.tensors)
    assert matching.unmatched["s"] == "the other model has nothing left of 1 element"
    assert matching.unmatched["x0.weight"] == "nothing in the reference holds values that are clearly its own"
    assert matching.unmatched_reference["y0.weight"] == "neither its name nor its values tell what it stands for"


def test_a_name_with_another_shape_is_told(rng):
    ours, theirs = model(plain("a.weight", rng.normal(size=(4, 6)))), model(plain("a.weight", rng.normal(size=(4, 7))))
    assert "a.weight (4 × 7) has its name" in match_tensors(ours, theirs).unmatched["a.weight"]


def test_scales_and_zero_points_are_never_matched(rng):
    def parts():
        weight = rng.normal(size=(4, 6))
        scale = np.full(4, 0.1, np.float32)
        tensor = rounded("fc.weight", weight, axis=0)
        return [
            tensor,
            plain("fc.weight_scale", scale),
            plain("fc.weight_zero_point", np.zeros(4, np.int8)),
            plain("fc.input_scale", np.float32(1)),
            plain("act_scale_0", np.float32(1)),
            plain("act_zero_point_0", np.int64(3)),
            plain("logit_scale", np.float32(4)),
            replace(plain("other", np.zeros(4, np.float32)), storage=tensor.quant.scale_storage),
        ]

    index, reference = model(*parts()), model(*parts())
    matching = match_tensors(index, reference)
    assert set(matching.pairs) == {"fc.weight", "logit_scale"}
    assert "only serves to decode" in matching.unmatched["fc.weight_scale"]
    assert "only serves to decode" in matching.unmatched_reference["other"]
    assert set(matching.unmatched) == set(matching.unmatched_reference) == set(index.tensors) - set(matching.pairs)


def test_what_is_quantized_is_no_scale_whatever_its_name(rng):
    weight = rng.normal(size=(4, 6))
    ours = model(rounded("block.weight", weight), rounded("block.scale", weight[0]))
    theirs = model(plain("block.weight", weight), plain("block.scale", weight[0]))
    assert len(match_tensors(ours, theirs).pairs) == 2


def test_a_reference_may_be_quantized_itself(rng):
    weights = rng.normal(size=(3, 8, 8))
    ours = model(*(rounded(f"x{i}.weight", weights[i], bits=4, axis=0) for i in (2, 0, 1)))
    theirs = model(*(rounded(f"y{i}.weight", weights[i]) for i in range(3)))
    matching = match_tensors(ours, theirs)
    assert partners(matching) == {f"x{i}.weight": f"y{i}.weight" for i in (2, 0, 1)}
    found = compare(ours.tensors["x0.weight"], theirs, matching.pairs["x0.weight"])
    expected = ours.tensors["x0.weight"].values() - theirs.tensors["y0.weight"].values().astype(np.float64)
    np.testing.assert_allclose(found.mse, np.mean(expected**2), rtol=1e-12)


def test_the_same_tensor_under_another_name_is_matched_by_name_alone(rng):
    weight = rng.normal(size=(5, 4))
    ours = model(rounded("a.weight", weight), rounded("b.weight", weight, alias_of="a.weight"))
    theirs = model(plain("a.weight", weight), plain("b.weight", weight), plain("c.weight", weight, alias_of="a.weight"))
    matching = match_tensors(ours, theirs)
    assert partners(matching) == {"a.weight": "a.weight", "b.weight": "b.weight"}
    assert matching.unmatched_reference == {"c.weight": "it is the same tensor as a.weight"}


class BrokenError(Exception):
    """What no reader is prepared for."""

    def __str__(self):
        return "the disk is gone"


class Broken:
    """Elements whose bytes cannot be reached any more."""

    def __init__(self, storage):
        self.dtype, self.shape, self.size, self.nbytes = storage.dtype, storage.shape, storage.size, storage.nbytes

    def read(self, region=None):
        del region
        raise BrokenError

    def regions(self, limit):
        del limit
        yield tuple(slice(0, length) for length in self.shape)


@pytest.mark.parametrize("names", ["same", "other"])
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_what_cannot_be_read_is_listed_with_the_reason(rng, side, names):
    weights = rng.normal(size=(6, 8, 4))

    def made(letter, broken):
        parts = [plain(f"{letter}{i}.weight", weights[i]) for i in range(6)]
        if broken:
            parts[1] = replace(parts[1], storage=Broken(parts[1].storage))
            parts[2] = replace(parts[2], storage=None, note="its part of the file is missing")
            parts[3] = replace(parts[3], dtype="strange")
        return model(*parts)

    matching = match_tensors(made("a", side == "ours"), made("a" if names == "same" else "b", side == "theirs"))
    assert set(matching.pairs) == {f"a{i}.weight" for i in (0, 4, 5)}
    letter = "a" if side == "ours" or names == "same" else "b"
    reasons = matching.unmatched if side == "ours" else matching.unmatched_reference
    assert reasons[f"{letter}1.weight"] == "it cannot be read: the disk is gone"
    assert reasons[f"{letter}2.weight"] == "it cannot be read: its part of the file is missing"
    assert f"{letter}3.weight" in reasons


def test_a_batch_normalization_that_cannot_be_read_is_not_folded(rng):
    weight, norm = rng.normal(size=(8, 4, 3, 3)), norm_of(rng, "bn", 8)
    parts = [plain(name, array) for name, array in norm.items()]
    parts[3] = replace(parts[3], storage=Broken(parts[3].storage))
    matching = match_tensors(model(rounded("conv.weight", weight)), model(plain("conv.weight", weight), *parts))
    assert matching.pairs["conv.weight"].folding is None


def test_complex_numbers_take_no_part():
    ours = model(plain("a", np.ones(3, np.complex64)))
    assert match_tensors(ours, ours).unmatched == {"a": "complex numbers are not compared"}


def test_a_person_corrects_a_match(rng):
    weights = rng.normal(size=(2, 6, 6))
    ours = model(rounded("a.weight", weights[0]), rounded("b.weight", weights[1]), plain("c", [1.0, 2.0]))
    theirs = model(plain("a.weight", weights[1]), plain("b.weight", weights[0]), plain("c", [1.0, 2.0]))
    given = {"a.weight": "a.weight", "c": None}
    matching = match_tensors(ours, theirs, given)
    assert matching.pairs["a.weight"].how == "given"
    assert matching.doubtful == ["a.weight", "b.weight"]
    assert matching.unmatched == {"c": "match says that it has no counterpart"}
    tied = match_tensors(ours, theirs, {"a.weight": "a.weight", "b.weight": "a.weight"})
    assert partners(tied) == {"a.weight": "a.weight", "b.weight": "a.weight", "c": "c"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"nobody": "a.weight"}, "match names 'nobody', and the model has no tensor of this name"),
        ({"a.weight": "nobody"}, "match names 'nobody', and the reference has no tensor of this name"),
        ({"a.weight": "b"}, r"match pairs a.weight \(2 × 2\) with b \(3\)"),
        ({"a.weight": "gone"}, "match names 'gone', which cannot be compared: it cannot be read: lost"),
        ({"a.weight": "broken"}, "one of them cannot be read: the disk is gone"),
    ],
)
def test_a_wrong_correction_is_refused(given, message):
    square = plain("broken", np.ones((2, 2)))
    index = model(
        plain("a.weight", np.ones((2, 2))), plain("b", np.ones(3)),
        plain("gone", np.ones((2, 2)), storage=None, note="lost"), replace(square, storage=Broken(square.storage)),
    )  # fmt: skip
    with pytest.raises(ValueError, match=message):
        match_tensors(index, index, given)


def test_ten_thousand_tensors_are_matched_by_names_with_one_look_at_each(rng, monkeypatch):
    weights = rng.normal(size=(10_000, 4, 4)).astype(np.float32)
    ours = model(*(plain(f"model.l{i}.weight_quantized", weight) for i, weight in enumerate(weights)))
    theirs = model(*(plain(f"l{i}.weight", weight) for i, weight in enumerate(weights)))
    looks = []
    from quantwidget.comparing import looking  # noqa: PLC0415 - the seam that is watched

    read = looking.read_values
    monkeypatch.setattr(
        looking, "read_values", lambda tensor, region: looks.append(tensor.name) or read(tensor, region)
    )
    matching = match_tensors(ours, theirs)
    assert len(matching.pairs) == 10_000
    assert all(pair.how == "name" and pair.reference[1:] == name[7:-10] for name, pair in matching.pairs.items())
    assert len(looks) == len(set(looks)) == 20_000


def test_work_beyond_the_budget_is_left_out_and_said(rng, monkeypatch):
    weights = rng.normal(size=(12, 8, 8))
    ours = model(*(rounded(f"x{i}.weight", weights[i]) for i in range(12)))
    theirs = model(
        *(plain(f"y{i}.weight", weights[i]) for i in (*range(1, 12), 0)), plain("z", rng.normal(size=(8, 8)))
    )
    assert len(match_tensors(ours, theirs).pairs) == 12
    monkeypatch.setattr(shortlists, "MOST_COMPARED", 60)
    matching = match_tensors(ours, theirs)
    assert "were each held against 5 of 26 in the reference" in matching.notes[0]
    assert all(pair.reference[1:] == name[1:] for name, pair in matching.pairs.items())
    monkeypatch.setattr(shortlists, "MOST_FEATURES", 20)
    matching = match_tensors(ours, theirs)
    assert matching.notes == ("12 tensors of shape [8, 8] were not matched by their values",)
    assert not matching.pairs


def test_long_and_odd_names_are_shortened_in_sentences(rng):
    name = "<script>." * 100 + "weight"
    weight = rng.normal(size=(4, 5))
    pair = match_tensors(model(plain(name, weight)), model(plain(name, weight))).pairs[name]
    assert pair.reference == name
    assert len(pair.sentence) < 250
    odd = ["", ".", "/", ":0", "²", "a..b", "\x00", "🙂.weight", "1.2.3", ";;;"]
    index = model(*(plain(one, rng.normal(size=(3, 4))) for one in odd))
    assert partners(match_tensors(index, index)) == {one: one for one in odd}
