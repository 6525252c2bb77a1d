import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Weight visualizer")

with app.setup:
    from html import escape
    from pathlib import Path

    import altair as alt
    import marimo as mo
    import numpy as np

    import quantwidget as qw
    from quantwidget import charts


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Weight visualizer

    Choose a model file. Every layer is on the left, the distribution of the selected tensor on the right.
    For quantized tensors, switch between the **codes** that the file stores and the **values** that they stand for.
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
    first = "resnet8_int8.pt" if "resnet8_int8.pt" in files else next(iter(files), None)
    model = mo.ui.dropdown(options=files, value=first, label="Model")
    model if files else mo.md(f"There is no model file in `{root}`: write another folder into the field above.")
    return model, root


@app.cell
def _(model, root):
    widget = mo.ui.anywidget(qw.QuantWidget(root / model.value if model.value else None))
    widget
    return (widget,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Statistics of the selection

    How many codes sit at either end of their range? Many of them
    mean that large values were cut off.
    """)
    return


@app.cell
def _(widget):
    tensor = widget.tensor
    return (tensor,)


@app.cell
def _(tensor):
    if tensor is None:
        summary = mo.md("Select a tensor above.")
    elif not tensor.is_readable:
        summary = mo.Html(f"<p>This tensor is listed only: {escape(tensor.note)}</p>")
    else:
        stats = tensor.stats()
        facts = {
            "tensor": tensor.name,
            "layer": tensor.layer,
            "shape": " × ".join(map(str, tensor.shape)),
            "stored as": tensor.storage_dtype,
            "minimum": stats.minimum,
            "maximum": stats.maximum,
            "mean": stats.mean,
            "standard deviation": stats.std,
            "zeros": f"{stats.zeros / max(stats.count, 1):.2%}",
        }
        if tensor.is_quantized:
            codes, scheme = tensor.codes(), tensor.quant
            facts |= {
                "granularity": scheme.granularity,
                "scales": 0 if scheme.scale is None else scheme.scale.size,
                "lowest and highest code": f"{codes.min()} and {codes.max()}",
                "codes at either end of the range": f"{np.isin(codes, (scheme.code_min, scheme.code_max)).mean():.3%}",
            }
        written = {what: f"{value:.6g}" if isinstance(value, float) else str(value) for what, value in facts.items()}
        summary = mo.ui.table(
            [{"what": what, "is": value} for what, value in written.items()], selection=None, pagination=False
        )
    summary
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Range analysis

    A quantizer has to choose a range. Move its ends: how many elements does a narrower range lose? Often half of
    the range holds nearly all of them. That half would give every code twice the precision.
    """)
    return


@app.cell
def _():
    ends = mo.ui.range_slider(
        start=-100,
        stop=100,
        step=1,
        value=[-50, 50],
        label="Range, in percent of the largest magnitude",
        show_value=True,
    )
    bins = mo.ui.slider(start=10, stop=200, step=10, value=60, label="Bins")
    log = mo.ui.switch(value=False, label="Logarithmic")
    mo.hstack([ends, bins, log], justify="start", wrap=True)
    return bins, ends, log


@app.cell
def _(bins, ends, log, tensor):
    if tensor is None or not tensor.is_readable or not tensor.size:
        picture, told = mo.md("Select a tensor above."), ""
    else:
        values = tensor.values()
        largest = float(np.abs(values).max())
        low, high = (largest * end / 100 for end in ends.value)
        below, above = np.count_nonzero(values < low), np.count_nonzero(values > high)
        told = (
            f"**{values.size - below - above:,}** of {values.size:,} elements "
            f"({1 - (below + above) / values.size:.3%}) lie between {low:.5g} and {high:.5g}; "
            f"{below:,} lie below, {above:,} above."
        )
        picture = charts.histogram(
            tensor.histogram(bins.value), title=tensor.name, log=log.value, marks={"from": low, "to": high}
        )
    picture
    return (told,)


@app.cell
def _(told):
    mo.md(told)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Ranges of all weights

    Thin lines run from the smallest to the largest value, thick ones hold the mean ± one standard deviation. A long
    thin line around a short thick one is a weight with outliers.
    """)
    return


@app.cell
def _(tensor, widget):
    weights = [
        {"name": name, "minimum": stats.minimum, "maximum": stats.maximum, "mean": stats.mean, "std": stats.std}
        for name, stats in (
            (weight.name, weight.stats())
            for weight in widget.index.tensors.values()
            if weight.role == "weight" and weight.is_readable and len(weight.shape) > 1
        )
        if stats.mean is not None
    ]
    rows = [
        row
        | {
            "from": row["mean"] - row["std"],
            "to": row["mean"] + row["std"],
            "is": row["name"] == getattr(tensor, "name", ""),
        }
        for row in weights
    ]
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=240)),
        color=alt.Color("is:N", legend=None, scale=alt.Scale(domain=[False, True], range=["#4c78a8", "#c0504d"])),
        tooltip=["name:N", *(alt.Tooltip(f"{what}:Q", format=".4g") for what in ("minimum", "maximum", "mean", "std"))],
    )
    overview = (
        base.mark_rule().encode(x=alt.X("minimum:Q", title="value"), x2="maximum:Q")
        + base.mark_bar(height=7).encode(x="from:Q", x2="to:Q")
    ).properties(width=520)
    overview if rows else mo.md("There is no weight to show.")
    return


if __name__ == "__main__":
    app.run()
