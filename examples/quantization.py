import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Quantization parameter explorer")

with app.setup:
    import warnings
    from html import escape
    from importlib.util import find_spec
    from pathlib import Path

    import altair as alt
    import marimo as mo
    import numpy as np

    import quantwidget as qw
    from quantwidget.comparing.pairs import reference_of
    from quantwidget.quantizing import effect_of, parameters_for, quantize

    FLOAT, INTEGER = "#4c78a8", "#f58518"


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # Quantization parameter explorer

    A quantized weight is whole numbers, the **codes**, and a rule that turns them back into values:

    $$\text{value} = (\text{code} - \text{zero point}) \cdot \text{scale}$$

    Look at the rule that a file uses, then choose one of your own and see what it costs.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The files of a folder

    A model is often saved several times: as floats and quantized, for PyTorch and as ONNX.
    """)
    return


@app.cell
def _():
    folder = mo.ui.text(value=str(mo.notebook_dir() / "models"), label="Folder with models", full_width=True)
    folder
    return (folder,)


@app.cell
def _(folder):
    families = {
        ".pt": "PyTorch",
        ".pth": "PyTorch",
        ".onnx": "ONNX",
        ".tflite": "TFLite",
        ".safetensors": "safetensors",
    }
    root = Path(folder.value).expanduser()
    paths = sorted(path for path in root.glob("*") if path.suffix in families) if root.is_dir() else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is wrong with a file stands in the table below
        models = {path.name: qw.load_tensor_index(path) for path in paths}
    return families, models, root


@app.cell
def _(families, models, root):
    def told(index):
        """Say in a sentence what is special about a file."""
        if index.format == "none":
            return "not opened: " + " ".join(index.notes)
        named = index.metadata.get("code named in the file (never run)", "")
        packages = sorted(
            {name.strip().split(".")[0] for name in named.split(",") if not name.strip().startswith("__")}
        )
        absent = [package for package in packages if package.isidentifier() and find_spec(package) is None]
        needs = (
            [f"its classes come from {', '.join(absent)}, not installed; the weights are read without"]
            if absent
            else []
        )
        return "; ".join([*index.notes, *needs])

    def kind(index):
        return "not opened" if index.format == "none" else "quantized" if index.is_quantized else "float"

    listed = [
        {
            "file": name,
            "kind": kind(index),
            "layers": len(index.layers),
            "tensors": len(index.tensors),
            "remarks": told(index),
        }
        for name, index in models.items()
    ]
    absent = [
        f"no {wanted} {family} file"
        for family in ("PyTorch", "ONNX")
        for wanted in ("float", "quantized")
        if not any(kind(index) == wanted and families[Path(name).suffix] == family for name, index in models.items())
    ]
    mo.ui.table(listed, selection=None, pagination=False, wrapped_columns=["remarks"]) if listed else mo.md(
        f"There is no model file in `{root}`."
    )
    return (absent,)


@app.cell
def _(absent):
    mo.md(f"In this folder there is {', '.join(absent)}." if absent else "All four variants are there.")
    return


@app.cell
def _(models):
    floats = [name for name, index in models.items() if index.tensors and not index.is_quantized]
    integers = [name for name, index in models.items() if index.is_quantized]
    original = mo.ui.dropdown(options=floats, value=next(iter(floats), None), label="Float model")
    model = mo.ui.dropdown(options=integers, value=next(iter(integers), None), label="Quantized model")
    mo.hstack([model, original], justify="start", wrap=True)
    return model, original


@app.cell
def _(model, models, original):
    nothing = qw.load_tensor_index(None)
    index = models.get(model.value, models.get(original.value, nothing))
    reference = models.get(original.value, nothing)
    both = qw.compare_models(index, reference)
    weights = [
        name
        for name, weight in index.tensors.items()
        if weight.role == "weight" and weight.is_readable and (weight.is_quantized or not index.is_quantized)
    ]
    largest = max(weights, key=lambda name: index.tensors[name].size, default=None)
    layer = mo.ui.dropdown(options=weights, value=largest, label="Weight")
    layer if weights else mo.md("There is no weight to look at: choose another folder.")
    return both, index, layer, reference


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The rule in the file

    One scale for the whole weight, or one for each output channel? If the scales in the table differ a lot, a single
    scale would have been too coarse for the channels with small ones.
    """)
    return


@app.cell
def _(both, index, layer, reference):
    tensor = index.tensors.get(layer.value)
    pair = both.matching.pairs.get(layer.value) if reference is not index else None
    if pair is not None:
        # The original in the axes of the tensor, with batch normalization folded in where the file has it folded in.
        whole = tuple(slice(0, length) for length in tensor.shape)
        floats_of = reference_of(pair, reference).read(whole).astype(np.float32)
        source = f"{layer.value} {pair.sentence}."
    elif tensor is not None:
        floats_of = tensor.values()
        source = "There is no float original, so the values that the codes stand for are taken in its place."
    else:
        floats_of = np.random.default_rng(0).normal(0, 0.1, (32, 64)).astype(np.float32)
        source = "There is no weight: random numbers stand in, so that you can try a rule on them below."
    original_weight = qw.open_model({"weight": floats_of}).tensors["weight"]
    mo.Html(f"<p>{escape(source)}</p>")
    return original_weight, pair, tensor


@app.cell
def _(tensor):
    scheme = None if tensor is None else tensor.quant
    facts = {}
    if tensor is not None:
        facts = {"stored as": tensor.storage_dtype, "shape": " × ".join(map(str, tensor.shape))}
    if scheme is not None:
        facts |= {
            "codes": f"{scheme.code_dtype}, {scheme.code_min} to {scheme.code_max}",
            "granularity": scheme.granularity + ("" if scheme.axis is None else f", axis {scheme.axis}"),
            "bits per weight, with scales": f"{scheme.bits_per_weight:.2f}",
            "rule": scheme.formula,
        }
    facts_table = [{"what": what, "is": value} for what, value in facts.items()]
    mo.ui.table(facts_table, selection=None, pagination=False) if facts_table else mo.md("No weight is selected.")
    return (scheme,)


@app.cell
def _(scheme):
    if scheme is None or scheme.scale is None:
        scales = mo.md("This weight is not quantized: it has no scale.")
    else:
        zero_points = np.zeros(scheme.scale.size) if scheme.zero_point is None else np.ravel(scheme.zero_point)
        scales = mo.ui.table(
            [
                {"channel or block": number, "scale": f"{scale:.6g}", "zero point": f"{zero_point:.6g}"}
                for number, (scale, zero_point) in enumerate(zip(np.ravel(scheme.scale), zero_points))
            ],
            selection=None,
            page_size=8,
        )
    scales
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Float against quantized

    Left the original, right what the codes stand for, on the same axes. Gaps on the right are values that no code can
    express.
    """)
    return


@app.cell
def _():
    def side_by_side(parts, bins=100):
        """Draw distributions beside each other on the same axes; parts are (title, color, tensor)."""
        known = [part.stats() for _, _, part in parts]
        ends = min(found.minimum or 0 for found in known), max(found.maximum or 0 for found in known)
        drawn = []
        for title, color, part in parts:
            counted = part.histogram(bins, range=ends)
            rows = [
                {"low": low, "high": high, "elements": count}
                for low, high, count in zip(
                    counted.edges[:-1].tolist(), counted.edges[1:].tolist(), counted.counts.tolist()
                )
            ]
            bars = alt.Chart(alt.Data(values=rows), title=title).mark_bar(color=color, binSpacing=0)
            drawn.append(
                bars.encode(
                    x=alt.X("low:Q", bin="binned", title="value"),
                    x2="high:Q",
                    y="elements:Q",
                    tooltip=[alt.Tooltip("low:Q", format=".4g"), alt.Tooltip("high:Q", format=".4g"), "elements:Q"],
                ).properties(width=310, height=200)
            )
        return alt.hconcat(*drawn).resolve_scale(y="shared")

    return (side_by_side,)


@app.cell
def _(original_weight, side_by_side, tensor):
    parts = [("float", FLOAT, original_weight)]
    if tensor is not None and tensor.is_quantized:
        parts.append(("quantized", INTEGER, tensor))
    side_by_side(parts)
    return


@app.cell
def _(both, pair):
    if pair is None:
        loss = "Without an original nothing can be said about what was lost."
    else:
        compared = both[pair.name]
        loss = (
            f"SQNR **{compared.sqnr_db:.2f} dB**, largest error {compared.max_error:.4g}, cosine {compared.cosine:.6f}. "
            "The error is a tenth of the weight at 20 dB, a hundredth at 40 dB."
        )
    mo.md(loss)
    return


@app.cell
def _(index, layer):
    found = [finding for finding in index.lint([layer.value] if layer.value else []) if finding.tensor == layer.value]
    said = [{"severity": finding.severity, "finding": finding.sentence} for finding in found]
    mo.ui.table(said, selection=None, wrapped_columns=["finding"]) if said else mo.md(
        "The linter finds nothing to say of it."
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## A rule of your own

    Take away one bit at a time and watch the error. Then change *Granularity* at 4 bits: which helps more, a scale
    per channel or a better range? *By hand* uses the scale and zero point of the next row.
    """)
    return


@app.cell
def _():
    number_format = mo.ui.dropdown(
        options=["integer", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn", "nf4"], value="integer", label="Format"
    )
    bits = mo.ui.slider(start=2, stop=8, step=1, value=4, label="Bits", show_value=True)
    symmetric = mo.ui.switch(value=True, label="Symmetric")
    granularity = mo.ui.dropdown(
        options=["per_tensor", "per_axis", "per_block"], value="per_tensor", label="Granularity"
    )
    group_size = mo.ui.slider(start=4, stop=64, step=4, value=16, label="Block size", show_value=True)
    range_rule = mo.ui.dropdown(options=["min_max", "percentile", "mse", "by hand"], value="min_max", label="Range")
    mo.hstack([number_format, bits, symmetric, granularity, group_size, range_rule], justify="start", wrap=True)
    return bits, granularity, group_size, number_format, range_rule, symmetric


@app.cell
def _(bits, number_format, original_weight, symmetric):
    widths = {"float8_e4m3fn": 8, "float8_e5m2": 8, "float4_e2m1fn": 4, "nf4": 4}
    plain = {
        "number_format": number_format.value,
        "bits": widths.get(number_format.value, bits.value),
        "symmetric": symmetric.value or number_format.value in widths,
        "granularity": "per_tensor",
    }
    start = parameters_for(original_weight, plain)
    first_zero_point = 0 if start.zero_point is None else int(np.ravel(start.zero_point)[0])
    scale = mo.ui.number(value=float(f"{np.ravel(start.scale)[0]:.4g}"), step=0.0001, label="Scale by hand")
    zero_point = mo.ui.number(value=first_zero_point, step=1, label="Zero point by hand")
    mo.hstack([scale, zero_point], justify="start", wrap=True)
    return plain, scale, zero_point


@app.cell
def _(granularity, group_size, original_weight, plain, range_rule, scale, zero_point):
    inputs = 1 if len(original_weight.shape) > 1 else 0  # blocks run along the input channels
    what_if = plain | {
        "granularity": granularity.value,
        "axis": inputs if granularity.value == "per_block" else 0,
        "group_size": group_size.value,
        "range_rule": "min_max" if range_rule.value == "by hand" else range_rule.value,
        "percentile": 99.9,
    }
    if range_rule.value == "by hand":
        what_if |= {"scale": scale.value, "zero_point": None if plain["symmetric"] else int(zero_point.value)}
    try:
        effect, problem = effect_of(original_weight, what_if), ""
    except ValueError as error:
        effect, problem = (
            effect_of(original_weight, plain),
            f"That is not possible: {error}. Shown is *min_max* instead.",
        )
        what_if = plain
    return effect, problem, what_if


@app.cell
def _(effect, problem):
    scales_found = np.ravel(effect.parameters.scale)
    mo.md(f"""
    {problem}

    | | |
    | --- | --- |
    | SQNR | **{effect.sqnr_db:.2f} dB** |
    | worst channel or block | {effect.channel_sqnr_db.min():.2f} dB |
    | largest error | {effect.max_error:.5g} |
    | clipped | {effect.clipped_share:.3%} of the elements |
    | error by clipping | {effect.clipping_error / max(effect.clipping_error + effect.rounding_error, 1e-300):.1%} of all squared error |
    | scales | {scales_found.size}, from {scales_found.min():.4g} to {scales_found.max():.4g} |
    | codes in use | {np.count_nonzero(effect.code_counts)} of {effect.code_counts.size} |
    | size | {effect.nbytes:,} bytes, {effect.bits_per_weight:.2f} bits per weight |
    """)
    return


@app.cell
def _(original_weight, side_by_side, what_if):
    restored = quantize(original_weight, what_if).values()
    side_by_side(
        [
            ("float", FLOAT, original_weight),
            ("with your rule", INTEGER, qw.open_model({"weight": restored}).tensors["weight"]),
        ]
    )
    return


@app.cell
def _(effect, original_weight, what_if):
    codes = [
        {"code": effect.first_code + number, "elements": count}
        for number, count in enumerate(effect.code_counts.tolist())
    ]
    code_chart = (
        alt.Chart(alt.Data(values=codes), title="How often each code occurs")
        .mark_bar(color=INTEGER)
        .encode(x=alt.X("code:Q"), y="elements:Q", tooltip=["code:Q", "elements:Q"])
        .properties(width=310, height=180)
    )
    widths_tried = [
        {"bits": width, "SQNR in dB": effect_of(original_weight, what_if | {"bits": width, "scale": None}).sqnr_db}
        for width in (range(2, 9) if what_if["number_format"] == "integer" else [what_if["bits"]])
    ]
    now = [{"bits": what_if["bits"], "SQNR in dB": effect.sqnr_db}]
    curve = alt.Chart(alt.Data(values=widths_tried), title="More bits, range from the data").mark_line(
        color=FLOAT, point=alt.OverlayMarkDef(color=FLOAT)
    )
    places = {"x": alt.X("bits:Q", axis=alt.Axis(tickMinStep=1)), "y": "SQNR in dB:Q"}
    yours = alt.Chart(alt.Data(values=now)).mark_point(color="#c0504d", size=160, filled=True)
    code_chart | (
        curve.encode(**places, tooltip=["bits:Q", alt.Tooltip("SQNR in dB:Q", format=".2f")]) + yours.encode(**places)
    ).properties(width=310, height=180)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The same on the page

    Open *What if* beside the histogram and try a quantizer there. Python sees it: the last cell carries it out.
    """)
    return


@app.cell
def _(index, reference):
    widget = mo.ui.anywidget(qw.QuantWidget(index, reference=None if reference is index else reference))
    widget
    return (widget,)


@app.cell
def _(widget):
    if widget.what_if is None or widget.tensor is None:
        made = "Nothing has been tried on the page yet: `w.what_if` is `None`."
    else:
        carried_out = widget.quantized()
        made = (
            f"`w.quantized()` gives {carried_out.codes.size:,} codes of type {carried_out.codes.dtype} "
            f"from {carried_out.codes.min()} to {carried_out.codes.max()}, and {carried_out.scale.size:,} scales."
        )
    mo.md(made)
    return


if __name__ == "__main__":
    app.run()
