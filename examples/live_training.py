import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Watch a network learn")

with app.setup:
    from importlib.util import find_spec

    import altair as alt
    import marimo as mo
    import numpy as np

    import quantwidget as qw
    from quantwidget.quantizing import effect_of
    from quantwidget.sketches import linear_edges, rebin

    HAS_TORCH = find_spec("torch") is not None


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Watch a network learn

    A small network learns to tell two spirals apart. Every few steps a **sketch** of each weight is kept: a summary
    of a few kilobytes from which any histogram can be drawn later. Watch how the weights spread, and what that does
    to their quantization.
    """)
    return


@app.cell
def _():
    mo.md(
        "Ready: PyTorch is installed."
        if HAS_TORCH
        else "PyTorch is not installed, so nothing is trained here: `pip install torch`."
    )
    return


@app.cell
def _():
    def two_spirals(points=400, turns=1.25):
        """Return points in the plane, shape (points, 2), and the spiral each belongs to."""
        random = np.random.default_rng(0)
        label = np.arange(points) % 2
        radius = np.sqrt(random.uniform(0.02, 1, points))
        angle = radius * turns * 2 * np.pi + label * np.pi
        place = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return (place + random.normal(0, 0.02, place.shape)).astype(np.float32), label

    points, labels = two_spirals()
    drawn = [{"x": x, "y": y, "spiral": "AB"[label]} for (x, y), label in zip(points.tolist(), labels.tolist())]
    alt.Chart(alt.Data(values=drawn)).mark_circle(size=18).encode(x="x:Q", y="y:Q", color="spiral:N").properties(
        width=260, height=260
    )
    return labels, points


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Training

    Larger steps and less weight decay make larger weights. Is the network better for it?
    """)
    return


@app.cell
def _():
    learning_rate = mo.ui.dropdown(options=["0.001", "0.003", "0.01", "0.03"], value="0.01", label="Learning rate")
    weight_decay = mo.ui.dropdown(options=["0", "0.1", "1"], value="0", label="Weight decay")
    steps = mo.ui.slider(start=100, stop=600, step=100, value=300, label="Steps", show_value=True)
    mo.hstack([learning_rate, weight_decay, steps], justify="start", wrap=True)
    return learning_rate, steps, weight_decay


@app.cell
def _():
    def loss_chart(losses):
        """Draw the loss so far."""
        rows = [{"step": step, "loss": loss} for step, loss in losses]
        return (
            alt.Chart(alt.Data(values=rows), title="Loss")
            .mark_line(color="#4c78a8")
            .encode(x="step:Q", y=alt.Y("loss:Q", scale=alt.Scale(domain=[0, 0.8], clamp=True)))
            .properties(width=500, height=160)
        )

    return (loss_chart,)


@app.cell
def _(labels, learning_rate, loss_chart, points, steps, weight_decay):
    losses, kept, lost, net, accuracy = [], [], [], None, float("nan")
    if HAS_TORCH:
        import torch

        torch.set_num_threads(1)  # so small a network runs slower on several
        torch.manual_seed(0)
        inputs, targets = torch.tensor(points), torch.tensor(labels)
        net = torch.nn.Sequential(
            torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2)
        )
        optimizer = torch.optim.AdamW(
            net.parameters(), lr=float(learning_rate.value), weight_decay=float(weight_decay.value)
        )
        live = qw.open_model(net)  # nothing is copied: it always shows the present weights
        four_bits = {"number_format": "integer", "bits": 4, "symmetric": True, "granularity": "per_tensor"}
        for step in range(steps.value + 1):
            predicted = net(inputs)
            loss = torch.nn.functional.cross_entropy(predicted, targets)
            if step % 20 == 0:
                losses.append((step, loss.item()))
                weights = {name: tensor for name, tensor in live.tensors.items() if tensor.role == "weight"}
                kept += [(step, name, tensor.sketch(fine=False)) for name, tensor in weights.items()]
                lost += [(step, name, effect_of(tensor, four_bits).sqnr_db) for name, tensor in weights.items()]
                mo.output.replace(loss_chart(losses))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracy = (net(inputs).argmax(1) == targets).float().mean().item()
        mo.output.replace(loss_chart(losses))
    return accuracy, kept, lost, net


@app.cell
def _(accuracy, net):
    mo.md(f"The trained network tells **{accuracy:.1%}** of the points right." if net is not None else "")
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## How the weights spread

    Each column is one moment of the training, dark where many weights lie. The first layer usually spreads most.
    """)
    return


@app.cell
def _(kept):
    names = sorted({name for _, name, _ in kept})
    layer = mo.ui.dropdown(options=names, value=next(iter(names), None), label="Weight")
    bins = mo.ui.slider(start=10, stop=80, step=10, value=40, label="Bins", show_value=True)
    mo.hstack([layer, bins], justify="start", wrap=True)
    return bins, layer


@app.cell
def _(bins, kept, layer):
    chosen = [(step, sketch) for step, name, sketch in kept if name == layer.value]
    if not chosen:
        spread = mo.md("Nothing was trained.")
    else:
        largest = max(max(-sketch.statistics.minimum, sketch.statistics.maximum) for _, sketch in chosen)
        edges = linear_edges(-largest, largest, bins.value)
        every = chosen[1][0] - chosen[0][0]
        cells = [
            {"step": step, "until": step + every, "low": low, "high": high, "weights": count}
            for step, sketch in chosen
            for low, high, count in zip(
                edges[:-1].tolist(), edges[1:].tolist(), rebin(sketch.values.grids(), edges).counts.tolist()
            )
            if count
        ]
        spread = (
            alt.Chart(alt.Data(values=cells), title=layer.value)
            .mark_rect()
            .encode(
                x=alt.X("step:Q", title="step"),
                x2="until:Q",
                y=alt.Y("low:Q", title="value"),
                y2="high:Q",
                color=alt.Color("weights:Q", scale=alt.Scale(type="sqrt", scheme="blues")),
                tooltip=[
                    "step:Q",
                    alt.Tooltip("low:Q", format=".3g"),
                    alt.Tooltip("high:Q", format=".3g"),
                    "weights:Q",
                ],
            )
            .properties(width=500, height=260)
        )
    spread
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## What four bits would lose

    The same weights rounded to 4 bits at each moment, one scale per tensor. A few weights that grow much larger than
    the rest cost everything else its precision.
    """)
    return


@app.cell
def _(lost):
    rounded = [{"step": step, "weight": name, "SQNR in dB": ratio} for step, name, ratio in lost]
    alt.Chart(alt.Data(values=rounded)).mark_line(point=True).encode(
        x="step:Q", y=alt.Y("SQNR in dB:Q", scale=alt.Scale(zero=False)), color="weight:N"
    ).properties(width=500, height=200) if rounded else mo.md("Nothing was trained.")
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## The trained network

    The widget takes the network as it is: no file is needed.
    """)
    return


@app.cell
def _(net):
    widget = mo.ui.anywidget(qw.QuantWidget(net))
    widget
    return


if __name__ == "__main__":
    app.run()
