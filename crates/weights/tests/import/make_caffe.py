"""Makes the Caffe fixtures and caffe.json, which says what they hold.

    pip install protobuf numpy
    python3 make_caffe.py

Caffe itself is hard to install today. So the messages are declared here, with the names and numbers
of the fields in BVLC's src/caffe/proto/caffe.proto, and written by Google's protobuf library, as
Caffe does. OpenCV's dnn module, which reads Caffe's files, loads v1 and v2 with check_caffe.py.

Made with protobuf 7.36 and NumPy 2.4.
"""

import json
import pathlib

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

HERE = pathlib.Path(__file__).parent / "caffe"
FIELD = descriptor_pb2.FieldDescriptorProto
TYPES = {
    "int32": FIELD.TYPE_INT32,
    "int64": FIELD.TYPE_INT64,
    "float": FIELD.TYPE_FLOAT,
    "double": FIELD.TYPE_DOUBLE,
    "bool": FIELD.TYPE_BOOL,
    "string": FIELD.TYPE_STRING,
}

# message: {field: (number, type, label)}; labels are o(ptional), r(epeated) and p(acked).
MESSAGES = {
    "BlobShape": {"dim": (1, "int64", "p")},
    "BlobProto": {
        "num": (1, "int32", "o"),
        "channels": (2, "int32", "o"),
        "height": (3, "int32", "o"),
        "width": (4, "int32", "o"),
        "data": (5, "float", "p"),
        "diff": (6, "float", "p"),
        "shape": (7, "BlobShape", "o"),
        "double_data": (8, "double", "p"),
    },
    # The same without packing, which readers must accept, too.
    "UnpackedBlobProto": {"data": (5, "float", "r"), "shape": (7, "BlobShape", "o")},
    "InnerProductParameter": {"num_output": (1, "int32", "o"), "transpose": (6, "bool", "o")},
    "ConvolutionParameter": {"num_output": (1, "int32", "o"), "kernel_size": (4, "int32", "o")},
    "LayerParameter": {
        "name": (1, "string", "o"),
        "type": (2, "string", "o"),
        "bottom": (3, "string", "r"),
        "top": (4, "string", "r"),
        "blobs": (7, "BlobProto", "r"),
        "convolution_param": (106, "ConvolutionParameter", "o"),
        "inner_product_param": (117, "InnerProductParameter", "o"),
    },
    "V0LayerParameter": {
        "name": (1, "string", "o"),
        "type": (2, "string", "o"),
        "num_output": (3, "int32", "o"),
        "blobs": (50, "BlobProto", "r"),
    },
    "V1LayerParameter": {
        "layer": (1, "V0LayerParameter", "o"),
        "bottom": (2, "string", "r"),
        "top": (3, "string", "r"),
        "name": (4, "string", "o"),
        "type": (5, "int32", "o"),  # an enum
        "blobs": (6, "BlobProto", "r"),
        "convolution_param": (10, "ConvolutionParameter", "o"),
        "inner_product_param": (17, "InnerProductParameter", "o"),
    },
    "NetParameter": {
        "name": (1, "string", "o"),
        "layers": (2, "V1LayerParameter", "r"),
        "input": (3, "string", "r"),
        "input_dim": (4, "int32", "r"),
        "layer": (100, "LayerParameter", "r"),
    },
}


def declared():
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message, fields in MESSAGES.items():
        into = file.message_type.add(name=message)
        for name, (number, kind, label) in fields.items():
            field = into.field.add(name=name, number=number)
            field.label = FIELD.LABEL_OPTIONAL if label == "o" else FIELD.LABEL_REPEATED
            field.options.packed = label == "p"
            if not field.options.packed:
                field.ClearField("options")
            if kind in TYPES:
                field.type = TYPES[kind]
            else:
                field.type, field.type_name = FIELD.TYPE_MESSAGE, ".caffe." + kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe." + name))
    return {name: find(name) for name in MESSAGES}


CLASSES = declared()
RANDOM = np.random.default_rng(2012)
EXPECTED = {}


def values(*shape):
    """Normal values in sixteenths, which are short in JSON."""
    return (np.round(RANDOM.standard_normal(shape) * 16) / 16).astype(np.float32)


def expect(file, name, array):
    """Rows of caffe.json: name, shape and values; each f32 is exact as a JSON number."""
    array = np.asarray(array, dtype=np.float32)
    row = {"name": name, "shape": list(array.shape), "values": [float(v) for v in array.ravel()]}
    EXPECTED.setdefault(file, []).append(row)


def legacy(blob, array):
    """A blob with four extents, as Caffe wrote them until 2014; of no double."""
    array = array.reshape((1,) * (4 - array.ndim) + array.shape)
    blob.num, blob.channels, blob.height, blob.width = array.shape
    blob.data.extend(array.ravel())


def shaped(blob, array):
    blob.shape.dim.extend(array.shape)
    blob.data.extend(array.ravel())


def write(file, message):
    data = message if isinstance(message, bytes) else message.SerializeToString(deterministic=True)
    (HERE / file).write_bytes(data)


def small_net():
    """Parameters of a small network: two convolutions, one of two groups, and two matrices."""
    return [
        ("conv1", "conv", values(4, 3, 3, 3), values(4)),
        ("conv2", "conv", values(6, 2, 3, 3), values(6)),
        ("fc3", "fc", values(8, 6 * 4 * 4), values(8)),
        ("fc4", "fc", values(5, 8), values(5)),
    ]


def v2():
    net = CLASSES["NetParameter"](name="small")
    net.layer.add(name="data", type="Input", top=["data"])
    for name, kind, weight, bias in small_net():
        layer = net.layer.add(name=name, type="Convolution" if kind == "conv" else "InnerProduct")
        if kind == "conv":
            layer.convolution_param.num_output = len(bias)
        else:
            layer.inner_product_param.num_output = len(bias)
        for suffix, array in (("weight", weight), ("bias", bias)):
            shaped(layer.blobs.add(), array)
            expect("v2.caffemodel", f"{name}.{suffix}", array)
        layer.blobs[0].diff.extend(values(*weight.shape).ravel() if name == "conv1" else [])
    write("v2.caffemodel", net)


def v1():
    net = CLASSES["NetParameter"](name="small", input=["data"], input_dim=[1, 3, 8, 8])
    for name, kind, weight, bias in small_net():
        layer = net.layers.add(name=name, type=4 if kind == "conv" else 14, bottom=["x"], top=["y"])
        for suffix, array in (("weight", weight), ("bias", bias)):
            legacy(layer.blobs.add(), array)
            expect("v1.caffemodel", f"{name}.{suffix}", array)
        net.layers.add(name="relu" + name, type=18, bottom=["y"], top=["y"])
    write("v1.caffemodel", net)


def v0():
    net = CLASSES["NetParameter"](name="small")
    for name, kind, weight, bias in small_net():
        layer = net.layers.add(bottom=["x"], top=["y"]).layer
        layer.name, layer.type = name, "conv" if kind == "conv" else "innerproduct"
        for suffix, array in (("weight", weight), ("bias", bias)):
            legacy(layer.blobs.add(), array)
            expect("v0.caffemodel", f"{name}.{suffix}", array)
    write("v0.caffemodel", net)


def layers():
    """Layers of other kinds, and blobs in other forms."""
    file = "layers.caffemodel"
    net = CLASSES["NetParameter"](name="layers")

    def add(name, kind, blobs, **fields):
        layer = net.layer.add(name=name, type=kind, **fields)
        for suffix, array in blobs:
            shaped(layer.blobs.add(), array)
            expect(file, f"{name}.{suffix}", array)
        return layer

    names = ("mean", "variance", "scale_factor")
    add("bn1", "BatchNorm", zip(names, (values(4), values(4) ** 2, values(1))))
    add("scale1", "Scale", (("weight", values(4)), ("bias", values(4))), bottom=["x"])
    add("scale2", "Scale", (("bias", values(4)),), bottom=["x", "factors"])
    add("bias1", "Bias", (("bias", values(4)),))
    add("prelu1", "PReLU", (("weight", values(4)),))
    add("lstm1", "LSTM", (("weight", values(8, 3)), ("bias", values(8)), ("2", values(8, 2))))
    add("conv1x1", "Convolution", (("weight", values(1, 1, 3, 2)), ("bias", values(1))))

    transposed = net.layer.add(name="fc1", type="InnerProduct")
    transposed.inner_product_param.transpose = True
    weight = values(5, 7)
    shaped(transposed.blobs.add(), weight.T)
    expect(file, "fc1.weight", weight)

    doubles = net.layer.add(name="double", type="InnerProduct")
    weight = RANDOM.standard_normal((3, 4))
    blob = doubles.blobs.add(double_data=weight.ravel())
    blob.shape.dim.extend(weight.shape)
    expect(file, "double.weight", weight)
    # Four extents in a new file: what a tool does that keeps the shapes of an old one.
    padded = net.layer.add(name="padded", type="InnerProduct")
    weight, bias = values(3, 4), values(3)
    shaped(padded.blobs.add(), weight.reshape(1, 1, 3, 4))
    shaped(padded.blobs.add(), bias.reshape(1, 1, 1, 3))
    expect(file, "padded.weight", weight)
    expect(file, "padded.bias", bias)
    data = net.SerializeToString(deterministic=True)

    # A layer whose blob is not packed, by hand: LayerParameter.blobs is declared as BlobProto.
    weight = values(2, 3)
    blob = CLASSES["UnpackedBlobProto"](data=weight.ravel())
    blob.shape.dim.extend(weight.shape)
    blob = blob.SerializeToString(deterministic=True)
    layer = CLASSES["LayerParameter"](name="unpacked", type="InnerProduct")
    layer = layer.SerializeToString(deterministic=True) + bytes([7 << 3 | 2, len(blob)]) + blob
    data += bytes([0xA2, 0x06, len(layer)]) + layer  # field 100, of bytes
    expect(file, "unpacked.weight", weight)
    write(file, data)


def means():
    mean = (RANDOM.random((3, 5, 4)) * 255).astype(np.float32)
    blob = CLASSES["BlobProto"]()
    legacy(blob, mean)
    write("mean.binaryproto", blob)
    expect("mean.binaryproto", "mean", mean)
    as_shape = CLASSES["BlobProto"]()
    shaped(as_shape, mean[:, 0, 0])
    write("mean3.binaryproto", as_shape)
    expect("mean3.binaryproto", "mean", mean[:, 0, 0])
    for file, array in (
        ("mean.npy", mean),
        ("mean-f64.npy", mean.astype(np.float64)),
        ("mean-fortran.npy", np.asfortranarray(mean)),
        ("mean3.npy", mean[:, 0, 0].astype(">f4")),
    ):
        np.save(HERE / file, array)
        expect(file, "mean", array)
    with open(HERE / "mean-v2.npy", "wb") as out:
        np.lib.format.write_array(out, mean[None], version=(2, 0))
    expect("mean-v2.npy", "mean", mean)


v2()
v1()
v0()
layers()
means()
text = json.dumps(EXPECTED, separators=(",", ":"))
(HERE.parent / "caffe.json").write_text(text.replace('{"name"', '\n{"name"') + "\n")
