import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Compare two models")

with app.setup:
    from html import escape
    from pathlib import Path

    import altair as alt
    import marimo as mo
    import numpy as np

    import quantwidget as qw
    from quantwidget import charts
    from quantwidget.sketches import linear_edges, rebin


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Compare two models

    A quantized model beside its float original: which tensor stands for which, and how much each of them lost.
    The two files may have different formats, names and layouts.
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
    started = next((name for name in files if "int8" in name and "per_tensor" in name), next(iter(files), None))
    original = next((name for name in files if "int8" not in name), started)
    model = mo.ui.dropdown(options=files, value=started, label="Model")
    reference = mo.ui.dropdown(options=files, value=original, label="Original")
    mo.hstack([model, reference], justify="start", wrap=True) if files else mo.md(
        f"There is no model file in `{root}`: write another folder into the field above."
    )
    return model, reference, root


@app.cell
def _(model, reference, root):
    index, original_index = (
        qw.load_tensor_index(root / choice.value if choice.value else None) for choice in (model, reference)
    )
    both = qw.compare_models(index, original_index)
    return both, index, original_index


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Worst first

    **SQNR** is the signal-to-quantization-noise ratio in decibels: 20 dB means that the error is a tenth of the
    weight's size, and every further bit adds about 6 dB. Which layers are worst? Compare a file with one scale per
    tensor and one with a scale per channel.
    """)
    return


@app.cell
def _(both):
    losses = sorted(
        (
            {
                "tensor": name,
                "original": both.matching.pairs[name].reference,
                "SQNR in dB": found.sqnr_db,
                "largest error": found.max_error,
                "cosine": found.cosine,
            }
            for name, found in both.items()
            if both.index.tensors[name].role == "weight"
        ),
        key=lambda loss: loss["SQNR in dB"],
    )
    return (losses,)


@app.cell
def _(losses):
    finite = [loss for loss in losses if np.isfinite(loss["SQNR in dB"])]
    ranking = (
        alt.Chart(alt.Data(values=finite))
        .mark_bar(color="#4c78a8")
        .encode(
            x=alt.X("SQNR in dB:Q"),
            y=alt.Y("tensor:N", sort=None, title=None, axis=alt.Axis(labelLimit=240)),
            tooltip=["tensor:N", "original:N", alt.Tooltip("SQNR in dB:Q", format=".2f")],
        )
        .properties(width=480)
    )
    ranking if finite else mo.md("No weight differs from its original, or none has one: see the lists below.")
    return


@app.cell
def _(losses):
    written = [
        {what: f"{value:.5g}" if isinstance(value, float) else value for what, value in loss.items()} for loss in losses
    ]
    mo.ui.table(written, selection=None, page_size=10)
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## One tensor

    Where is the error? Rounding spreads evenly between ± half a scale. Bars far outside of that are values that were
    clipped. A channel with few decibels has small weights that share a scale with large ones.
    """)
    return


@app.cell
def _(losses):
    names = [loss["tensor"] for loss in losses]
    choice = mo.ui.dropdown(options=names, value=next(iter(names), None), label="Tensor")
    choice
    return (choice,)


@app.cell
def _(both, choice):
    chosen = both[choice.value] if choice.value else None
    sentence = "No weight has a partner."
    if chosen is not None:
        loss = f"SQNR {chosen.sqnr_db:.2f} dB" if np.isfinite(chosen.sqnr_db) else "Nothing was lost"
        sentence = f"{choice.value} {chosen.pair.sentence}. {loss}."
    mo.Html(f"<p>{escape(sentence)}</p>")
    return (chosen,)


@app.cell
def _(chosen):
    if chosen is None or chosen.error is None or not np.isfinite(chosen.sqnr_db):
        pictures = mo.md("There is no error to draw.")
    else:
        spread = chosen.error.statistics
        counted = rebin(chosen.error.grids(), linear_edges(spread.minimum, spread.maximum, 60))
        errors = charts.histogram(counted, title="Error of the elements", x="value − original")
        ratios = [] if chosen.channels is None else np.ravel(chosen.channels.sqnr_db).tolist()
        finite_channels = [
            {"channel": channel, "SQNR in dB": ratio} for channel, ratio in enumerate(ratios) if np.isfinite(ratio)
        ]
        channels = (
            alt.Chart(alt.Data(values=finite_channels), title="Each channel")
            .mark_circle(color="#4c78a8")
            .encode(
                x="channel:Q",
                y=alt.Y("SQNR in dB:Q", scale=alt.Scale(zero=False)),
                tooltip=["channel:Q", alt.Tooltip("SQNR in dB:Q", format=".2f")],
            )
            .properties(width=300, height=200)
        )
        pictures = errors.properties(width=300, height=200) | channels
    pictures
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What has no partner

    Nothing is left out silently: the reason stands beside each name.
    """)
    return


@app.cell
def _(both):
    alone = [
        {"in": which, "tensor": name, "why": why}
        for which, reasons in (("model", both.matching.unmatched), ("original", both.matching.unmatched_reference))
        for name, why in reasons.items()
    ]
    mo.ui.table(alone, selection=None, page_size=8) if alone else mo.md("Every tensor has a partner.")
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The same on the page

    Select a tensor: its original is drawn as an outline, and *Compare* shows the figures above.
    """)
    return


@app.cell
def _(index, original_index):
    widget = mo.ui.anywidget(qw.QuantWidget(index, reference=original_index))
    widget
    return


if __name__ == "__main__":
    app.run()
