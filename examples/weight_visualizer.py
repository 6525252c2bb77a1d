import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Weight visualizer")

with app.setup:
    from pathlib import Path

    import marimo as mo

    import quantwidget as qw


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
    folder = mo.ui.text(
        value=str(Path(__file__).parent / "models"),
        label="Folder with models",
        full_width=True,
    )
    folder
    return (folder,)


@app.cell
def _(folder):
    endings = {".pt", ".pth", ".onnx"}
    root = Path(folder.value).expanduser()
    files = sorted(path for path in root.glob("*") if path.suffix in endings) if root.is_dir() else []
    names = {path.name: path for path in files}
    model = mo.ui.dropdown(
        names,
        value="resnet8_int8.pt" if "resnet8_int8.pt" in names else next(iter(names), None),
        label="Model",
    )
    model if names else mo.md(f"There is no `.pt`, `.pth` or `.onnx` file in `{root}`.")
    return (model,)


@app.cell
def _(model):
    widget = mo.ui.anywidget(qw.QuantWidget(model.value))
    widget
    return (widget,)


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The selection in Python

    The widget's selection is a value like any other: this cell runs again whenever another tensor is selected.
    """)
    return


@app.cell
def _(widget):
    # Reading .value makes this cell follow the selection.
    selected = widget.value["selected"]
    tensor = widget.widget.index.tensors.get(selected)
    return (tensor,)


@app.cell
def _(tensor):
    if tensor is None:
        summary = mo.md("Select a tensor above.")
    elif not tensor.is_readable:
        summary = mo.md(f"This tensor is listed only: {tensor.note}")
    else:
        stats = tensor.stats()
        rows = {
            "tensor": tensor.name,
            "layer": tensor.layer,
            "shape": str(tensor.shape),
            "stored as": tensor.storage_dtype,
            "minimum": stats.minimum,
            "maximum": stats.maximum,
            "mean": stats.mean,
            "standard deviation": stats.std,
        }
        if tensor.is_quantized:
            codes = tensor.codes()
            rows |= {
                "granularity": tensor.quant.granularity,
                "scales": tensor.quant.scale.size,
                "lowest and highest code": f"{codes.min()} and {codes.max()}",
                "codes at either end of the range": f"{((codes == tensor.quant.code_min) | (codes == tensor.quant.code_max)).mean():.3%}",
            }
        summary = mo.ui.table(
            [{"what": what, "is": str(value)} for what, value in rows.items()], selection=None, pagination=False
        )
    summary
    return


if __name__ == "__main__":
    app.run()
