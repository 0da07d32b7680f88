"""Makes the ONNX fixtures and onnx.json, which says what they hold.

    pip install torch onnx onnxruntime onnxscript
    python3 make_onnx.py

Networks with the layers of torchvision's, in small, are exported by both exporters of PyTorch; their
expected tensors are the networks' own. What PyTorch does not write, `onnx.helper` does.

Made with PyTorch 2.15, ONNX 1.23 and ONNX Runtime 1.32.
"""

import json
import pathlib

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

HERE = pathlib.Path(__file__).parent / "onnx"
EXPECTED = {}


class AlexNet(nn.Module):
    """torchvision's alexnet with fewer and smaller layers."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, kernel_size=3, stride=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(4, 6, kernel_size=3, padding=1, groups=2),
            nn.ReLU(inplace=True),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 5)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Normalized(nn.Module):
    """Batch normalisation, and a matrix for each row of an image, which is a MatMul and an Add."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.rows = nn.Linear(12, 7)

    def forward(self, x):
        return self.rows(self.norm(torch.relu(x)))


def sixteenths(net):
    """Values that are short in JSON and exact in each type."""
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.round(torch.randn(tensor.shape) * 16) / 16)
                if name.endswith("running_var"):
                    tensor.abs_().add_(1)
    return net.eval()


def expect(file, name, array):
    array = np.asarray(array, dtype=np.float32)
    row = {"name": name, "shape": list(array.shape), "values": [float(v) for v in array.ravel()]}
    EXPECTED.setdefault(file, []).append(row)


def expect_of(file, net, names=None):
    """The tensors of a network in its order; `names` are those in the file, where they differ."""
    tensors = {n: t for n, t in net.state_dict().items() if t.is_floating_point()}
    for at, (name, tensor) in enumerate(tensors.items()):
        expect(file, names[at] if names else name, tensor.numpy())


def export(file, net, size, **options):
    image = torch.zeros(1, 3, size, size)
    torch.onnx.export(net, (image,), HERE / file, input_names=["image"], **options)
    # The exporter notes where each node was traced, with the paths of this machine.
    model = onnx.load(HERE / file, load_external_data=False)
    for node in model.graph.node:
        kept = [it for it in node.metadata_props if it.key != "pkg.torch.onnx.stack_trace"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, HERE / file)


def check(file):
    """Runs the model, which must be valid."""
    import onnxruntime

    session = onnxruntime.InferenceSession(HERE / file)
    (image,) = session.get_inputs()
    session.run(None, {image.name: np.zeros(image.shape, np.float32)})


def exported():
    net = sixteenths(AlexNet())
    export("legacy.onnx", net, 16, dynamo=False)
    expect_of("legacy.onnx", net)
    export("dynamo.onnx", net, 16, dynamo=True, external_data=False)
    expect_of("dynamo.onnx", net)
    # All but the smallest tensors in a file beside the model.
    (HERE / "external.onnx.data").unlink(missing_ok=True)
    model = onnx.load(HERE / "dynamo.onnx")
    onnx.save(
        model, HERE / "external.onnx", save_as_external_data=True, location="external.onnx.data",
        size_threshold=60,
    )
    expect_of("external.onnx", net)
    for file, dynamo in (("matmul-legacy.onnx", False), ("matmul-dynamo.onnx", True)):
        net = sixteenths(Normalized())
        options = {"external_data": False} if dynamo else {}
        export(file, net, 12, dynamo=dynamo, **options)
        model = onnx.load(HERE / file)
        # The matrix is a constant that the exporter has transposed and named.
        matmul = next(node for node in model.graph.node if node.op_type == "MatMul")
        names = [n for n, t in net.state_dict().items() if t.is_floating_point()]
        names[names.index("rows.weight")] = matmul.input[1]
        expect_of(file, net, names)


def values(*shape):
    return (np.round(np.random.standard_normal(shape) * 16) / 16).astype(np.float32)


def tensor(name, array, kind=TensorProto.FLOAT, raw=True):
    if raw:
        if kind == TensorProto.BFLOAT16:
            words = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
            return helper.make_tensor(name, kind, array.shape, words.tobytes(), raw=True)
        kinds = {1: "f4", 10: "f2", 11: "f8"}
        data = array.astype("<" + kinds[kind]).tobytes()
        return helper.make_tensor(name, kind, array.shape, data, raw=True)
    return helper.make_tensor(name, kind, array.shape, array.ravel())


def model(file, nodes, initializers, inputs=(), ir=8):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 4])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [image, *inputs], [out], initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9 if ir == 3 else 13)])
    made.ir_version = ir
    onnx.save(made, HERE / file)


def old():
    """As the models of 2018: all tensors are inputs, too, and their data are lists of floats."""
    file = "old.onnx"
    tensors = {"fc_b": values(5), "fc_w": values(5, 18), "conv_b": values(2), "conv_w": values(2, 3, 2, 2)}
    nodes = [
        helper.make_node("Conv", ["image", "conv_w", "conv_b"], ["conv"]),
        helper.make_node("Reshape", ["conv", "shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc_w", "fc_b"], ["out"], transB=1),
    ]
    initializers = [tensor(name, array, raw=False) for name, array in tensors.items()]
    initializers.append(helper.make_tensor("shape", TensorProto.INT64, [2], [1, 18]))
    inputs = [
        helper.make_tensor_value_info(of.name, of.data_type, of.dims) for of in initializers
    ]
    model(file, nodes, initializers, inputs, ir=3)
    for name in ("conv_w", "conv_b", "fc_w", "fc_b"):
        expect(file, name, tensors[name])


def types():
    """All types of elements and ways to store them, and the layers' other forms."""
    file = "types.onnx"
    conv, half, double = values(2, 3, 2, 2), values(18, 4), values(4, 5)
    brain, bias, constant = values(5, 6), values(1, 6), values(6, 7)
    nodes = [
        helper.make_node("Conv", ["image", "conv"], ["c"]),
        helper.make_node("Add", ["c", "conv_bias"], ["c2"]),
        helper.make_node("Flatten", ["c2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "half", "half_bias"], ["a"], alpha=2.0, beta=0.5),
        helper.make_node("MatMul", ["a", "double"], ["b"]),
        helper.make_node("Identity", ["brain"], ["brain2"]),
        helper.make_node("MatMul", ["b", "brain2"], ["d"]),
        helper.make_node("Add", ["bias", "d"], ["e"]),
        helper.make_node("Constant", [], ["constant"], value=tensor("", constant)),
        helper.make_node("Transpose", ["constant"], ["turned"], perm=[1, 0]),
        helper.make_node("Gemm", ["e", "turned"], ["f"], transB=1),
        helper.make_node("Constant", [], ["unused"], value=tensor("", values(3))),
        helper.make_node("Mul", ["f", "factor"], ["out"]),
    ]
    conv_bias, half_bias, factor = values(2, 1, 1), values(4), values(1)
    initializers = [
        tensor("factor", factor),
        tensor("half_bias", half_bias, TensorProto.FLOAT16, raw=False),
        tensor("conv", conv, TensorProto.DOUBLE, raw=False),
        tensor("conv_bias", conv_bias),
        tensor("half", half, TensorProto.FLOAT16),
        tensor("double", double, TensorProto.DOUBLE),
        tensor("brain", brain, TensorProto.BFLOAT16),
        tensor("bias", bias, raw=False),
    ]
    model(file, nodes, initializers)
    expect(file, "conv", conv)
    expect(file, "conv_bias", conv_bias.ravel())
    expect(file, "half", half.T * 2)
    expect(file, "half_bias", half_bias * 0.5)
    expect(file, "double", double.T)
    expect(file, "brain", brain.T)
    expect(file, "bias", bias.ravel())
    expect(file, "constant", constant.T)
    expect(file, "factor", factor)


torch.manual_seed(2012)
np.random.seed(2012)
exported()
old()
types()
for made in ("legacy", "dynamo", "external", "matmul-legacy", "matmul-dynamo", "old"):
    check(made + ".onnx")
text = json.dumps(EXPECTED, separators=(",", ":"))
(HERE.parent / "onnx.json").write_text(text.replace('{"name"', '\n{"name"') + "\n")
