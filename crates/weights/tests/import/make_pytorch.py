"""Writes the PyTorch and safetensors files in `pytorch/` and what they hold in `pytorch.json`.

    pip install torch safetensors numpy
    python make_pytorch.py

Made with PyTorch 2.15, safetensors 0.8 and NumPy 2.4. The networks are tiny and have torchvision's
names. For each tensor `pytorch.json` has its shape, the type in the file, and the sum, the sum of
magnitudes and some of the values, in f64, after rounding to f32.
"""

import argparse
import collections
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "pytorch"
FOLDER.mkdir(exist_ok=True)
EXPECTED = {}

TYPES = {
    torch.float64: "f64", torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16",
    torch.int64: "i64", torch.int32: "i32", torch.int16: "i16", torch.int8: "i8",
    torch.uint8: "u8", torch.bool: "bool", torch.uint16: "u16",
}  # fmt: skip


class AlexNet(nn.Module):
    """The names of torchvision's `alexnet`."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, (3, 2))
        )
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 5))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class VggBn(nn.Module):
    """The names of torchvision's `vgg11_bn`."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        )
        self.classifier = nn.Sequential(nn.Linear(4, 3))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def expected(name, tensors):
    def one(name, tensor):
        flat = tensor.detach().contiguous().to(torch.float32).to(torch.float64).flatten()
        picked = sorted({0, len(flat) // 3, len(flat) - 1}) if len(flat) else []
        return {
            "name": name, "shape": list(tensor.shape), "element": TYPES[tensor.dtype],
            "sum": flat.sum().item(), "magnitude": flat.abs().sum().item(),
            "values": {str(at): flat[at].item() for at in picked},
        }  # fmt: skip

    EXPECTED[name] = [one(key, value) for key, value in tensors.items()]


def save(name, value, tensors=None, legacy=True):
    """Writes a file in both forms; without `tensors` it is one that must be refused."""
    for form in ["zip", "legacy"] if legacy else ["zip"]:
        file = f"{name}.pt" if form == "zip" else f"{name}-legacy.pt"
        torch.save(value, FOLDER / file, _use_new_zipfile_serialization=form == "zip")
        if form == "legacy":
            # A pickled module has its source's path: none of this machine, of the same length.
            prefix = f"{sys.prefix}/".encode()
            path = FOLDER / file
            path.write_bytes(path.read_bytes().replace(prefix, b"/".ljust(len(prefix), b"-")))
        if tensors is not None:
            expected(file, tensors)


torch.manual_seed(2012)
network = AlexNet()
state = network.state_dict()
for dtype in [torch.float32, torch.float16, torch.bfloat16, torch.float64]:
    converted = collections.OrderedDict((k, v.to(dtype)) for k, v in state.items())
    save(f"alexnet-{TYPES[dtype]}", converted if dtype != torch.float32 else state, converted)

vgg = VggBn()
vgg(torch.randn(4, 3, 8, 8))
save("vgg-bn", vgg.state_dict(), vgg.state_dict())
save("parallel", nn.DataParallel(network).state_dict(), state)

# A checkpoint as torchvision's and timm's references write it, after a step.
optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [30, 60])
network(torch.randn(2, 3, 10, 7)).sum().backward()
optimizer.step()
counts = collections.defaultdict(list)
counts["train"].append(1.5)
checkpoint = {
    "epoch": 3,
    "arch": "alexnet",
    "mean": torch.tensor([0.485, 0.456, 0.406]),
    "state_dict": network.state_dict(),
    "optimizer": optimizer.state_dict(),
    "schedule": schedule.state_dict(),
    "best_acc1": np.float64(56.5),
    "std": np.array([0.229, 0.224, 0.225], dtype=np.float32),
    "args": argparse.Namespace(lr=0.1, data="imagenet", schedule=[30, 60], resume=None),
    "device": torch.device("cuda", 0),
    "dtype": torch.float32,
    "size": torch.Size([224, 224]),
    "history": counts,
    "classes": {"tench"},
}
save("checkpoint", checkpoint, network.state_dict())
save("checkpoint-model", {"model": nn.DataParallel(network).state_dict(), "epoch": 3},
     network.state_dict(), legacy=False)  # fmt: skip
preferred = {"net": vgg.state_dict(), "weights": state, "model": 5, "model_state_dict": state}
save("checkpoint-preferred", preferred, state, legacy=False)

# Parameters instead of tensors, one with an attribute, which is pickled in another way.
parameters = dict(network.named_parameters())
parameters["classifier.3.bias"].note = "an attribute"
save("parameters", parameters, parameters)

base = torch.randn(6, 8)
flat = torch.randn(40)
strided = {
    "transposed": base.T,
    "sliced": base[1:5, ::3],
    "reversed axes": torch.randn(2, 3, 4).permute(2, 0, 1),
    "channels last": torch.randn(4, 3, 3, 2).to(memory_format=torch.channels_last),
    "shared.a": flat[:24].view(4, 6),
    "shared.b": flat[20:],
    "shared.all": flat,
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
}
save("strided", strided, strided)

integers = {
    "weight": torch.randn(3),
    "i64": torch.arange(3),
    "i32": torch.arange(3, dtype=torch.int32),
    "i16": torch.arange(3, dtype=torch.int16),
    "i8": torch.arange(3, dtype=torch.int8),
    "u8": torch.arange(3, dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
}
save("integers", integers, integers)
untyped = {"weight": torch.randn(3), "u16": torch.arange(3).to(torch.uint16)}
save("untyped", untyped, untyped, legacy=False)

torch.serialization.set_crc32_options(False)
save("unchecked", state, state, legacy=False)
torch.serialization.set_crc32_options(True)

# What must be refused.
save("module", nn.Identity())
save("one-parameter", nn.Parameter(torch.randn(2)), legacy=False)
save("no-tensors", {"epoch": 3, "state_dict": {}}, legacy=False)
save("expanded", {"weight": torch.randn(1).expand(5)}, legacy=False)
save("path", {"state_dict": state, "path": pathlib.PurePosixPath("data")}, legacy=False)
torch.jit.script(nn.Sequential(nn.Linear(2, 2))).save(FOLDER / "script.pt")

# Safetensors.
plain = {k: v.contiguous() for k, v in state.items()}
save_file(plain, FOLDER / "alexnet.safetensors")
expected("alexnet.safetensors", plain)
several = {
    "module.a": torch.randn(2, 3), "module.b": torch.randn(3).half(), "module.c": torch.tensor(1.5),
    "module.d": torch.randn(3).bfloat16(), "module.e": torch.randn(2, 1, 2).double(),
    "module.count": torch.tensor(7), "module.mask": torch.tensor([True, False]),
    "module.empty": torch.zeros(0, 2), "module.u16": torch.arange(3).to(torch.uint16),
}  # fmt: skip
save_file(several, FOLDER / "types.safetensors", metadata={"format": "pt"})
expected("types.safetensors", {k.removeprefix("module."): v for k, v in several.items()})
parts = [dict(list(plain.items())[:3]), dict(list(plain.items())[3:])]
weight_map = {}
for number, part in enumerate(parts, 1):
    file = f"model-{number:05}-of-00002.safetensors"
    save_file(part, FOLDER / file, metadata={"format": "pt"})
    weight_map |= {name: file for name in part}
index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
(FOLDER / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
expected("model.safetensors.index.json", plain)

lines = [
    f'"{file}": [\n ' + ",\n ".join(json.dumps(tensor) for tensor in tensors) + "\n]"
    for file, tensors in EXPECTED.items()
]
(HERE / "pytorch.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
