import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Report for an embedded target")

with app.setup:
    import math
    import re
    from pathlib import Path

    import altair as alt
    import marimo as mo
    import numpy as np

    import quantwidget as qw


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Report for an embedded target

    What somebody asks who has to fit a quantized model into a microcontroller: how many bytes does each layer take,
    which integers replace the scales, and where are the arrays to compile in?
    """)
    return


@app.cell
def _():
    folder = mo.ui.text(value=str(mo.notebook_dir() / "models"), label="Folder with models", full_width=True)
    folder
    return (folder,)


@app.cell
def _(folder):
    endings = {".pt", ".pth", ".onnx", ".safetensors", ".gguf", ".tflite"}
    root = Path(folder.value).expanduser()
    files = sorted(path.name for path in root.glob("*") if path.suffix in endings) if root.is_dir() else []
    first = next((name for name in files if "qdq_per_channel" in name), next(iter(files), None))
    model = mo.ui.dropdown(options=files, value=first, label="Model")
    model if files else mo.md(f"There is no model file in `{root}`: write another folder into the field above.")
    return model, root


@app.cell
def _(model, root):
    index = qw.load_tensor_index(root / model.value if model.value else None)
    return (index,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Flash: bytes by layer

    Bytes of codes and of floats are told apart by their width in bits. Which layer would you shrink first? Scales and
    zero points count too: small layers with a scale per channel pay for them.
    """)
    return


@app.cell
def _(index):
    stored = [
        {
            "layer": tensor.layer or "(no layer)",
            "role": tensor.role,
            "tensor": tensor.name,
            "bits": 8 * tensor.nbytes // max(tensor.size, 1),
            "elements": tensor.size,
            "bytes": tensor.nbytes,
        }
        for tensor in index.tensors.values()
        if tensor.alias_of is None
    ]
    total = sum(entry["bytes"] for entry in stored)
    return stored, total


@app.cell
def _(index, stored, total):
    bars = (
        alt.Chart(alt.Data(values=stored), title=f"{total:,} bytes")
        .mark_bar()
        .encode(
            x=alt.X("sum(bytes):Q", title="bytes"),
            y=alt.Y("layer:N", sort=list(index.layers), title=None, axis=alt.Axis(labelLimit=240)),
            color=alt.Color("bits:O", title="bits", scale=alt.Scale(scheme="tableau10")),
            tooltip=["tensor:N", "role:N", "bits:O", "elements:Q", "bytes:Q"],
        )
        .properties(width=480)
    )
    bars if stored else mo.md("There is nothing to draw.")
    return


@app.cell
def _(stored, total):
    widths = sorted({entry["bits"] for entry in stored})
    by_width = [
        {
            "bits": width,
            "elements": f"{sum(entry['elements'] for entry in stored if entry['bits'] == width):,}",
            "bytes": f"{sum(entry['bytes'] for entry in stored if entry['bits'] == width):,}",
            "share": f"{sum(entry['bytes'] for entry in stored if entry['bits'] == width) / max(total, 1):.1%}",
        }
        for width in widths
    ]
    mo.ui.table(by_width, selection=None, pagination=False)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Ranges

    A layer adds up products of codes in 32 bits. The last column is the most bits that the sum of one output can need,
    for inputs of 8 bits: far below 32 there is room to spare.
    """)
    return


@app.cell
def _(index):
    weights = [
        tensor
        for tensor in index.tensors.values()
        if tensor.role == "weight" and tensor.is_quantized and tensor.is_readable
    ]
    ranges = []
    for one in weights:
        stats, weight_codes = one.stats(), one.codes()
        # Outputs lie along the axis of the scales; else along the last one of a product of matrices, or the first.
        is_product = "MatMul" in index.layers[one.layer].op_type
        axis = (-1 if is_product else 0) if one.quant.axis is None else one.quant.axis
        summed = one.size // max(one.shape[axis], 1) if one.shape else 1
        zero_points = np.zeros(1) if one.quant.zero_point is None else np.ravel(one.quant.zero_point)
        distances = np.abs(weight_codes.astype(np.float64)[..., None] - [zero_points.min(), zero_points.max()])
        largest_sum = summed * 255 * max(float(distances.max()), 1)
        ranges.append(
            {
                "weight": one.name,
                "values": f"{stats.minimum:.4g} to {stats.maximum:.4g}",
                "codes": f"{weight_codes.min()} to {weight_codes.max()}",
                "summed products": summed,
                "bits of the sum": math.ceil(math.log2(largest_sum + 1)) + 1,
            }
        )
    mo.ui.table(ranges, selection=None, page_size=12) if ranges else mo.md("No weight is quantized in this file.")
    return (weights,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Fixed point: no floats at run time

    The sum has to be multiplied by $M = S_\text{input} \cdot S_\text{weight} / S_\text{output}$ to become a code of
    the output. Integer kernels write $M = 2^{-n} M_0$ with $M_0$ from 0.5 to 1, and keep $M_0$ as a whole number of 31
    bits behind the point. This is the method of gemmlowp and TFLite: B. Jacob et al., *Quantization and Training of
    Neural Networks for Efficient Integer-Arithmetic-Only Inference*, 2018, section 2.2, equations 5 and 6.
    """)
    return


@app.function
def fixed_point(multiplier):
    """Write a positive number as a multiplier and a shift: ``multiplier ≈ m0 · 2**-31 · 2**-n``.

    Returns
    -------
    (int, int)
        ``m0``, 2**30 to 2**31 - 1, and ``n``, the bits to shift to the right; negative for multipliers of 1 and more.
        Equations 5 and 6 of Jacob et al., 2018 (arXiv 1712.05877).
    """
    if not 0 < multiplier < math.inf:
        raise ValueError(f"a multiplier is positive and finite, not {multiplier}")
    fraction, exponent = math.frexp(multiplier)
    m0 = round(fraction * 2**31)
    return (2**30, -exponent - 1) if m0 == 2**31 else (m0, -exponent)


@app.function
def requantized(accumulator, m0, n):
    """Multiply a sum by ``m0 · 2**-31 · 2**-n`` in whole numbers, halves rounded away from zero."""
    bits = 31 + n
    product = abs(int(accumulator)) * m0
    rounded = (product + (1 << (bits - 1))) >> bits if bits > 0 else product << -bits
    return rounded if accumulator >= 0 else -rounded


@app.cell
def _(weights):
    names = [weight.name for weight in weights]
    choice = mo.ui.dropdown(options=names, value=next(iter(names), None), label="Weight")
    choice if names else mo.md("No weight is quantized in this file.")
    return (choice,)


@app.cell
def _(choice, index):
    weight = index.tensors.get(choice.value)
    layer = index.layers[weight.layer].roles if weight is not None else {}

    def number_of(role):
        """The one number that a role of the layer holds, or None."""
        beside = index.tensors.get(layer.get(role, ""))
        return float(beside.values().reshape(-1)[0]) if beside is not None and beside.size == 1 else None

    # The scale of a bias is that of the input times that of the weight.
    bias = index.tensors.get(layer.get("bias", ""))
    has_both = weight is not None and bias is not None and bias.quant is not None and bias.quant.scale is not None
    told_input = number_of("input_scale") or (
        float(np.ravel(bias.quant.scale)[0] / np.ravel(weight.quant.scale)[0]) if has_both else None
    )
    told_output = number_of("output_scale")
    input_scale = mo.ui.number(value=told_input or 0.05, step=0.001, label="Scale of the input")
    output_scale = mo.ui.number(value=told_output or 0.05, step=0.001, label="Scale of the output")
    mo.hstack([input_scale, output_scale], justify="start", wrap=True)
    return input_scale, output_scale, told_input, told_output, weight


@app.cell
def _(told_input, told_output):
    guessed = [name for name, told in (("input", told_input), ("output", told_output)) if told is None]
    mo.md(
        f"The file does not say the scale of the {' and that of the '.join(guessed)} beside this weight: type it above, 0.05 only stands in."
        if guessed
        else "Both scales are those of the file."
    )
    return


@app.cell
def _(input_scale, output_scale, weight):
    multipliers = []
    if weight is not None and weight.quant.scale is not None and input_scale.value > 0 and output_scale.value > 0:
        for channel, weight_scale in enumerate(np.ravel(weight.quant.scale).tolist()):
            exact = input_scale.value * weight_scale / output_scale.value
            if exact > 0:
                m0, n = fixed_point(exact)
                multipliers.append({"channel": channel, "M": exact, "M0": m0, "n": n})
    mo.ui.table(
        [
            entry
            | {"M": f"{entry['M']:.7g}", "error": f"{entry['M0'] * 2.0 ** (-31 - entry['n']) / entry['M'] - 1:.1e}"}
            for entry in multipliers
        ],
        selection=None,
        page_size=8,
    ) if multipliers else mo.md("There is no scale to turn into integers.")
    return (multipliers,)


@app.cell
def _(multipliers):
    sums = np.random.default_rng(0).integers(-(2**20), 2**20, 2000).tolist()
    unlike = sum(
        requantized(total_of_products, entry["M0"], entry["n"])
        != math.floor(abs(total_of_products) * entry["M"] + 0.5) * (1 if total_of_products >= 0 else -1)
        for entry in multipliers
        for total_of_products in sums
    )
    mo.md(
        f"Checked on {len(sums) * len(multipliers):,} random sums: the integers give another code than the floats in **{unlike}** cases."
        if multipliers
        else ""
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Arrays to compile in

    One C header holds the codes, scales and zero points of all quantized weights. *Write the files* puts it into the
    folder, and beside it each array as `.npy` for NumPy.
    """)
    return


@app.function
def c_name(name, taken=()):
    """Make an identifier of C out of a tensor's name, which may be any text."""
    plain = "w_" + (re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "tensor")
    unique, number = plain, 2
    while unique in taken:
        unique, number = f"{plain}_{number}", number + 1
    return unique


@app.function
def arrays_of(index):
    """Give the arrays of all quantized weights by their C name: codes, scale and zero point, flat, in C order."""
    arrays, taken = {}, set()
    for tensor in index.tensors.values():
        if tensor.role != "weight" or not tensor.is_quantized or not tensor.is_readable or not tensor.size:
            continue
        name = c_name(tensor.name, taken)
        taken.add(name)
        scheme = tensor.quant
        parts = {"": tensor.codes(), "_scale": scheme.scale, "_zero_point": scheme.zero_point}
        arrays |= {
            name + ending: np.ravel(part if ending != "_scale" else part.astype(np.float32))
            for ending, part in parts.items()
            if part is not None
        }
    return arrays


@app.function
def c_header(arrays):
    """Write arrays as a C header: whole numbers as such, floats in hexadecimal so that no bit is lost."""
    lines = ["#include <math.h>", "#include <stdint.h>", ""]
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            special = {"nan": "NAN", "inf": "INFINITY", "-inf": "-INFINITY"}
            exact = [float(number).hex() for number in array.astype(np.float32)]
            kind, written = "float", [special.get(number, f"{number}f") for number in exact]
        else:
            kind = f"{'u' if array.dtype.kind == 'u' else ''}int{8 * array.dtype.itemsize}_t"
            written = [str(number) for number in array.tolist()]
        rows = [", ".join(written[at : at + 16]) for at in range(0, len(written), 16)]
        lines += [f"static const {kind} {name}[{array.size}] = {{", *(f"  {row}," for row in rows), "};", ""]
    return "\n".join(lines)


@app.cell
def _(index):
    arrays = arrays_of(index)
    header = c_header(arrays)
    return arrays, header


@app.cell
def _():
    target = mo.ui.text(value="export", label="Folder to write to")
    write = mo.ui.switch(value=False, label="Write the files")
    mo.hstack([target, write], justify="start", wrap=True)
    return target, write


@app.cell
def _(arrays, header, target, write):
    if write.value:
        out = Path(target.value).expanduser()
        out.mkdir(parents=True, exist_ok=True)
        (out / "weights.h").write_text(header)
        for name, array in arrays.items():
            np.save(out / f"{name}.npy", array)
        report = f"Wrote `weights.h` and {len(arrays)} arrays to `{out.resolve()}`."
    else:
        report = f"Nothing is written yet: `weights.h` would hold {len(arrays)} arrays in {len(header):,} characters."
    mo.md(report)
    return


@app.cell
def _(header):
    mo.md(f"The header begins so:\n\n```c\n{header[:700]}\n```")
    return


if __name__ == "__main__":
    app.run()
