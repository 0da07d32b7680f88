"""ONNX's own tests of its operators, as rows of this program.

    pip install onnx numpy
    python nodes.py FOLDER
    python nodes.py --table

FOLDER receives `cases.jsonl`, a line for each test that runs: a network whose first row is the
operator, its parameters, input and output in this program's layout. The table lists, for each
operator, how many tests run, and why the others do not.
"""

import importlib
import json
import pathlib
import sys
import warnings

import numpy as np

warnings.simplefilter("ignore")
from onnx.backend.test.case import node as onnx_tests  # noqa: E402
from onnx.helper import get_attribute_value  # noqa: E402

# The modules of the operators below: importing them makes their tests. `collect_testcases` would
# import all, which takes long.
MODULES = [
    "conv", "gemm", "matmul", "maxpool", "globalmaxpool", "averagepool", "globalaveragepool", "lrn",
    "batch_normalization", "layernormalization", "relu", "leakyrelu", "prelu", "gelu", "tanh",
    "sigmoid", "softmax", "dropout", "softmax_cross_entropy_loss", "adam", "momentum", "flatten",
]  # fmt: skip

OPERATORS = [
    "Conv", "Gemm", "MatMul", "MaxPool", "GlobalMaxPool", "AveragePool", "GlobalAveragePool", "LRN",
    "BatchNormalization", "LayerNormalization", "Relu", "LeakyRelu", "PRelu", "Gelu", "Tanh",
    "Sigmoid", "Softmax", "Dropout", "SoftmaxCrossEntropyLoss", "Adam", "Momentum", "Flatten",
]  # fmt: skip


class NotApplicable(Exception):
    pass


def channels_last(x):
    if x.ndim != 4:
        raise NotApplicable("maps of one or three dimensions")
    return x.transpose(0, 2, 3, 1)


def rows_of(x, axis=-1):
    """x as images of one pixel, whose channels are the extents from `axis` on."""
    channels = int(np.prod(x.shape[axis:]))
    return x.reshape(-1, 1, 1, channels)


def row(kind, **settings):
    text = ", ".join(f"{name} = {json.dumps(value)}" for name, value in settings.items())
    return f"{{ {kind} = {{ {text} }} }}"


def square(values, what):
    if len(set(values)) != 1:
        raise NotApplicable(f"{what} that differ in height and width")
    return values[0]


def pads(attributes, x, window, stride):
    """Top, left, bottom, right."""
    auto = attributes.get("auto_pad", b"NOTSET")
    if auto == b"NOTSET":
        return attributes.get("pads", [0, 0, 0, 0])
    total = [max((-(-n // stride) - 1) * stride + window - n, 0) for n in x.shape[2:]]
    less, more = [n // 2 for n in total], [n - n // 2 for n in total]
    return less + more if auto == b"SAME_UPPER" else more + less


def conv(attributes, x, w, b=None):
    window = square(w.shape[2:], "windows")
    stride = square(attributes.get("strides", [1, 1]), "strides")
    top, left, bottom, right = pads(attributes, x, window, stride)
    groups = attributes.get("group", 1)
    op = row("conv", name="op", filters=len(w), window=window, stride=stride,
             pad=[top, bottom, left, right], groups=groups)  # fmt: skip
    bias = np.zeros(len(w)) if b is None else b
    return op, {"weight": w.transpose(0, 2, 3, 1), "bias": bias}, channels_last(x), channels_last


def linear(x, w, b):
    op = row("linear", name="op", outputs=len(w))
    return op, {"weight": w, "bias": b}, rows_of(x), rows_of


def gemm(attributes, a, b, c=None):
    a = a.T if attributes.get("transA") else a
    b = b if attributes.get("transB") else b.T
    c = np.zeros(1, np.float32) if c is None else c
    if c.ndim == 2 and c.shape[0] > 1:
        raise NotApplicable("a bias for each row")
    bias = np.broadcast_to(c.ravel(), len(b))
    # The reader of ONNX files multiplies both factors into the parameters.
    return linear(a, attributes.get("alpha", 1.0) * b, attributes.get("beta", 1.0) * bias)


def matmul(attributes, a, b):
    if a.ndim != 2 or b.ndim != 2:
        raise NotApplicable("batches of matrices, and vectors")
    return linear(a, b.T, np.zeros(b.shape[1]))


def pool(attributes, x, average):
    if x.ndim != 4:
        raise NotApplicable("maps of one or three dimensions")
    if attributes.get("dilations", [1])[0] != 1:
        raise NotApplicable("windows with gaps (dilations)")
    window = square(attributes["kernel_shape"], "windows")
    stride = square(attributes.get("strides", [1, 1]), "strides")
    around = pads(attributes, x, window, stride)
    if len(set(around)) != 1:
        raise NotApplicable("padding at one end")
    if around[0] and attributes.get("count_include_pad"):
        raise NotApplicable("averages that count padded pixels")
    if 2 * around[0] > window:
        raise NotApplicable("padding of more than half the window")
    op = row("pool", average=average, window=window, stride=stride, pad=around[0],
             ceil=bool(attributes.get("ceil_mode", 0)))  # fmt: skip
    return op, {}, channels_last(x), channels_last


def global_pool(attributes, x, average):
    op = row("pool", average=average, window=square(x.shape[2:], "maps"))
    return op, {}, channels_last(x), channels_last


def lrn(attributes, x):
    op = row("lrn", size=attributes["size"], alpha=attributes.get("alpha", 1e-4),
             beta=attributes.get("beta", 0.75), k=attributes.get("bias", 1.0),
             divide_alpha=True)  # fmt: skip
    return op, {}, channels_last(x), channels_last


def batch_norm(attributes, x, scale, shift, mean, variance):
    if attributes.get("training_mode"):
        raise NotApplicable("a running variance of the biased one; PyTorch's and ours is unbiased")
    op = row("batch_norm", epsilon=attributes.get("epsilon", 1e-5))
    parameters = {"scale": scale, "shift": shift, "mean": mean, "variance": variance}
    return op, parameters, channels_last(x), channels_last


def layer_norm(attributes, x, scale, shift):
    axis = attributes.get("axis", -1)
    own = lambda array: rows_of(array, axis)
    op = row("layer_norm", epsilon=attributes.get("epsilon", 1e-5))
    return op, {"scale": scale.ravel(), "shift": shift.ravel()}, own(x), own


def prelu(attributes, x, slope):
    own = lambda array: array.reshape(-1, 1, 1, slope.size)
    return row("prelu"), {"slope": slope.ravel()}, own(x), own


def gelu(attributes, x):
    if attributes.get("approximate", b"none") != b"none":
        raise NotApplicable("the approximation by tanh")
    return row("gelu"), {}, rows_of(x), rows_of


def plain(kind, **settings):
    return lambda attributes, x: (row(kind, **settings), {}, rows_of(x), rows_of)


def softmax(attributes, x):
    own = lambda array: rows_of(np.moveaxis(array, attributes.get("axis", -1), -1))
    return "softmax", {}, own(x), own


def dropout(attributes, x, ratio=None, training=None):
    if training is not None and training:
        raise NotApplicable("ONNX's random numbers")
    return row("dropout", drop=0.5, inverted=True), {}, rows_of(x), rows_of


def no_row(reason):
    def refuse(attributes, *inputs):
        raise NotApplicable(reason)

    return refuse


CONVERT = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": matmul,
    "MaxPool": lambda attributes, x: pool(attributes, x, False),
    "GlobalMaxPool": lambda attributes, x: global_pool(attributes, x, False),
    "AveragePool": lambda attributes, x: pool(attributes, x, True),
    "GlobalAveragePool": lambda attributes, x: global_pool(attributes, x, True),
    "LRN": lrn,
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "Relu": plain("relu"),
    "LeakyRelu": lambda a, x: plain("leaky_relu", slope=a.get("alpha", 0.01))(a, x),
    "PRelu": prelu,
    "Gelu": gelu,
    "Tanh": plain("tanh"),
    "Sigmoid": plain("logistic"),
    "Softmax": softmax,
    "Dropout": dropout,
    "SoftmaxCrossEntropyLoss": no_row("weights of classes, ignored labels of maps; no row"),
    "Adam": no_row("weight decay is in the gradient; the update is tested with PyTorch's"),
    "Momentum": no_row("the learning rate is inside our velocity (docs/design/velocity.md)"),
    "Flatten": no_row("no arithmetic"),
}


def flat(array):
    return [float(value) for value in np.ravel(array)]


def convert(case):
    node = case.model.graph.node[0]
    attributes = {a.name: get_attribute_value(a) for a in node.attribute}
    inputs, outputs = case.data_sets[0]
    if inputs[0].dtype != np.float32:
        raise NotApplicable("elements that are not f32")
    op, parameters, x, layout = CONVERT[node.op_type](attributes, *inputs)
    rows = f'[{op}, {row("linear", name="last", outputs=1)}]' if op != "softmax" else "[]"
    spec = f'name = "node"\ninput = {list(x.shape[1:])}\nrows = {rows}\n'
    return {
        "name": case.name,
        "images": len(x),
        "spec": spec,
        "parameters": {name: flat(values) for name, values in parameters.items()},
        "x": flat(x),
        "y": flat(layout(outputs[0])),
    }


def testcases():
    for module in MODULES:
        importlib.import_module(f"{onnx_tests.__name__}.{module}")
    return onnx_tests._NodeTestCases


def main(folder):
    converted, refused = {}, {}
    for case in testcases():
        if case.model is None or len(case.model.graph.node) != 1:
            continue
        operator = case.model.graph.node[0].op_type
        if operator not in CONVERT:
            continue
        try:
            converted.setdefault(operator, []).append(convert(case))
        except NotApplicable as reason:
            refused.setdefault(operator, {}).setdefault(str(reason), []).append(case.name)
    table = ["| operator | run | do not apply |", "|---|---:|---|"]
    for operator in OPERATORS:
        reasons = refused.get(operator, {}).items()
        reasons = "; ".join(f"{reason}: {len(names)}" for reason, names in reasons)
        table.append(f"| {operator} | {len(converted.get(operator, []))} | {reasons} |")
    if folder == "--table":
        print("\n".join(table))
        return
    cases = [case for operator in OPERATORS for case in converted.get(operator, [])]
    folder = pathlib.Path(folder)
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    (folder / "table.md").write_text("\n".join(table) + "\n")


main(sys.argv[1])
