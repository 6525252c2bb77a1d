import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Your own framework")

with app.setup:
    import altair as alt
    import marimo as mo
    import numpy as np

    import quantwidget as qw


@app.cell(hide_code=True)
def _():
    mo.md("""
    # Your own framework

    Courses build a small deep-learning framework from NumPy. The widget shows its models without an adapter: it looks
    for arrays among an object's attributes, and for whole-number codes with a scale beside them.

    Here is such a framework. What is quantized, and when is it turned back into floats? (An app hides the code:
    `marimo edit` shows it.)
    """)
    return


@app.class_definition
class Tensor:
    """Numbers, and the gradient that belongs to them."""

    def __init__(self, data):
        self.data = np.asarray(data, np.float32)
        self.grad = np.zeros_like(self.data)


@app.class_definition
class Linear:
    """y = x · weight + bias."""

    def __init__(self, inputs, outputs, random):
        self.weight = Tensor(random.normal(0, inputs**-0.5, (inputs, outputs)))
        self.bias = Tensor(np.zeros(outputs))

    def forward(self, x):
        return x @ self.weight.data + self.bias.data

    def backward(self, x, gradient):
        self.weight.grad, self.bias.grad = x.T @ gradient, gradient.sum(0)
        return gradient @ self.weight.data.T


@app.class_definition
class ReLU:
    """Negative numbers become 0."""

    def forward(self, x):
        return x * (x > 0)

    def backward(self, x, gradient):
        return gradient * (x > 0)


@app.class_definition
class QuantizedLinear:
    """The same as Linear, from whole numbers: value = (code − zero point) · scale."""

    def __init__(self, linear, bits):
        values, last = linear.weight.data, 2**bits - 1
        low, high = min(values.min(), 0), max(values.max(), 0)
        self.weight_scale = np.float32((high - low) / last)
        self.weight_zero_point = np.uint8(np.rint(-low / self.weight_scale))
        codes = np.rint(values / self.weight_scale) + self.weight_zero_point
        self.q_weight = np.clip(codes, 0, last).astype(np.uint8)
        self.bias = linear.bias

    def forward(self, x):
        values = (self.q_weight.astype(np.float32) - self.weight_zero_point) * self.weight_scale
        return x @ values + self.bias.data


@app.class_definition
class Model:
    """Layers, one after the other."""

    def __init__(self, *layers):
        self.layers = list(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Train it

    Two half moons that a straight line cannot separate. More hidden units bend the border better.
    """)
    return


@app.cell
def _():
    hidden = mo.ui.slider(start=2, stop=32, step=2, value=16, label="Hidden units", show_value=True)
    hidden
    return (hidden,)


@app.cell
def _(hidden):
    random = np.random.default_rng(0)
    angle, which = random.uniform(0, np.pi, 600), np.arange(600) % 2
    place = np.stack([np.cos(angle) + which - 0.5, np.sin(angle) * (1 - 2 * which) + 0.5 * which - 0.25], axis=1)
    place = (place + random.normal(0, 0.1, place.shape)).astype(np.float32)

    net = Model(Linear(2, hidden.value, random), ReLU(), Linear(hidden.value, 2, random))
    for _step in range(400):
        seen = [place]  # what each layer is given, and what the last one says
        for layer in net.layers:
            seen.append(layer.forward(seen[-1]))
        scores = seen[-1]
        likely = np.exp(scores - scores.max(1, keepdims=True))
        likely /= likely.sum(1, keepdims=True)
        gradient = (likely - np.eye(2)[which]) / len(place)  # of cross-entropy
        for layer, x in zip(reversed(net.layers), reversed(seen[:-1])):
            gradient = layer.backward(x, gradient)
            if isinstance(layer, Linear):
                layer.weight.data -= 0.5 * layer.weight.grad
                layer.bias.data -= 0.5 * layer.bias.grad
    mo.md(f"The trained network tells **{(net.forward(place).argmax(1) == which).mean():.1%}** of the points right.")
    return net, place, which


@app.cell
def _(net):
    widget = mo.ui.anywidget(qw.QuantWidget(net))
    widget
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## Quantize it

    Each `Linear` becomes a `QuantizedLinear`. Take bits away until the border between the moons breaks.
    """)
    return


@app.cell
def _():
    bits = mo.ui.slider(start=2, stop=8, step=1, value=8, label="Bits", show_value=True)
    bits
    return (bits,)


@app.cell
def _(bits, net):
    quantized = Model(
        *(QuantizedLinear(layer, bits.value) if isinstance(layer, Linear) else layer for layer in net.layers)
    )
    return (quantized,)


@app.cell
def _(net, place, quantized, which):
    right = {
        kind: (model.forward(place).argmax(1) == which).mean()
        for kind, model in (("float", net), ("quantized", quantized))
    }
    across, up = np.meshgrid(np.linspace(-2, 2, 48), np.linspace(-1.5, 1.5, 36))
    grid = np.stack([across.ravel(), up.ravel()], axis=1).astype(np.float32)

    def border(model, title):
        """Colour the plane by what the model says."""
        said = model.forward(grid).argmax(1)
        rows = [{"x": x, "y": y, "moon": "AB"[moon]} for (x, y), moon in zip(grid.tolist(), said.tolist())]
        return (
            alt.Chart(alt.Data(values=rows), title=title)
            .mark_square(size=30, opacity=0.6)
            .encode(x="x:Q", y="y:Q", color=alt.Color("moon:N", legend=None))
            .properties(width=225, height=170)
        )

    border(net, f"float: {right['float']:.1%} right") | border(quantized, f"quantized: {right['quantized']:.1%} right")
    return


@app.cell
def _(net, quantized):
    # The same comparison as for model files: each layer's error, in decibels below the weight itself.
    both = qw.compare_models(qw.open_model(quantized), qw.open_model(net))
    mo.ui.table(
        [
            {"quantized": name, "original": found.pair.reference, "SQNR in dB": f"{found.sqnr_db:.2f}"}
            for name, found in both.items()
            if both.index.tensors[name].is_quantized
        ],
        selection=None,
    )
    return


@app.cell
def _(net, quantized):
    quantized_widget = mo.ui.anywidget(qw.QuantWidget(quantized, reference=net))
    quantized_widget
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    ## When attributes have other names

    A class that keeps its codes elsewhere says so in a method `__quantwidget_tensors__`; nothing has to be imported for
    it. A mapping with `codes`, `scale` and, where there is one, `zero_point` is all that it returns.
    """)
    return


@app.class_definition
class PackedLinear:
    """Codes under a name of its own, one scale for each output."""

    def __init__(self, values):
        self.steps = np.abs(values).max(0) / 7
        self.nibbles = np.rint(values / self.steps).astype(np.int8)

    def __quantwidget_tensors__(self):
        return {"weight": {"codes": self.nibbles, "scale": self.steps, "axis": 1, "code_dtype": "int4"}}


@app.cell
def _(net):
    packed = qw.open_model(PackedLinear(net.layers[0].weight.data))
    packed.tensors["weight"].quant
    return


if __name__ == "__main__":
    app.run()
