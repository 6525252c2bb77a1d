import marimo

__generated_with = "0.25.2"
app = marimo.App()


@app.cell
def _():
    import marimo as mo

    return (mo,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    # Quantize one layer by hand

    Four lines turn the floats of a weight into whole numbers and back. You write them here, and check them against
    what the library says.
    """)
    return


@app.cell
def _():
    import altair as alt
    import numpy as np

    import quantwidget as qw
    from quantwidget.quantizing import effect_of

    return alt, effect_of, np, qw


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## A weight

    Most weights are many small numbers and a few large ones. These are drawn at random, one row for each output.
    """)
    return


@app.cell
def _(np):
    weight = np.random.default_rng(0).normal(0, 0.1, (16, 64)).astype(np.float32)
    weight[3] *= 4  # one output with much larger weights than the others
    f"{weight.size:,} numbers from {weight.min():.3f} to {weight.max():.3f}"
    return (weight,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Four lines

    The largest magnitude gets the largest code, everything else lies in between. What is the smallest weight that is not
    rounded to 0?
    """)
    return


@app.cell
def _(np, weight):
    bits = 4
    largest_code = 2 ** (bits - 1) - 1
    scale = np.abs(weight).max() / largest_code
    codes = np.clip(np.rint(weight / scale), -largest_code - 1, largest_code).astype(np.int8)
    values = codes * scale
    f"scale {scale:.4f}, codes {codes.min()} to {codes.max()}, {np.mean(codes == 0):.1%} of them 0"
    return bits, codes, largest_code, scale, values


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## How much is lost

    The signal-to-quantization-noise ratio compares the size of the weight with that of the error, in decibels: 20 dB
    means a tenth. The library's figure must be the same.
    """)
    return


@app.cell
def _(bits, effect_of, np, qw, values, weight):
    def decibels(original, restored):
        """20 · log10 of how many times the error fits into the original."""
        return 20 * np.log10(np.linalg.norm(original) / np.linalg.norm(restored - original))


    by_hand = decibels(weight.astype(np.float64), values.astype(np.float64))
    tensor = qw.open_model({"weight": weight}).tensors["weight"]
    rule = {"number_format": "integer", "bits": bits, "symmetric": True, "granularity": "per_tensor"}
    by_library = effect_of(tensor, rule).sqnr_db
    f"by hand {by_hand:.3f} dB, by the library {by_library:.3f} dB"
    return (decibels,)


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## A scale for each output

    The row with large weights made the scale coarse for all others. Give each row its own: only the axis of the maximum
    changes.
    """)
    return


@app.cell
def _(decibels, largest_code, np, values, weight):
    row_scales = np.abs(weight).max(axis=1, keepdims=True) / largest_code
    row_codes = np.clip(np.rint(weight / row_scales), -largest_code - 1, largest_code).astype(np.int8)
    row_values = row_codes * row_scales
    f"{decibels(weight, values):.1f} dB with one scale, {decibels(weight, row_values):.1f} dB with {row_scales.size}"
    return row_codes, row_scales, row_values


@app.cell
def _(alt, decibels, row_values, values, weight):
    rows = [
        {"output": output, "scales": scales, "SQNR in dB": float(decibels(weight[output], restored[output]))}
        for scales, restored in (("one", values), ("one for each output", row_values))
        for output in range(len(weight))
    ]
    alt.Chart(alt.Data(values=rows)).mark_point(filled=True).encode(
        x="output:Q", y="SQNR in dB:Q", color="scales:N", tooltip=["output:Q", "scales:N", "SQNR in dB:Q"]
    ).properties(width=480, height=200)
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Look at both

    Select both weights in turn, and switch between *Codes* and *Values*. Which of them uses more of its codes?
    """)
    return


@app.cell
def _(bits, codes, qw, row_codes, row_scales, scale):
    class Layer:
        """Tells the widget what is what: codes, their scale, and how many bits they really have."""

        def __quantwidget_tensors__(self):
            """Name each tensor, and say how its codes become values."""
            kind = f"int{bits}"
            return {
                "one scale": {"codes": codes, "scale": scale, "code_dtype": kind},
                "one for each output": {"codes": row_codes, "scale": row_scales[:, 0], "code_dtype": kind},
            }


    qw.QuantWidget(Layer())
    return


@app.cell(hide_code=True)
def _(mo):
    mo.md(r"""
    ## Try it

    - Set `bits` to 8, 3 and 2. How many decibels is one bit worth?
    - Take out the line that makes row 3 larger. Is a scale for each output still worth it?
    """)
    return


if __name__ == "__main__":
    app.run()
