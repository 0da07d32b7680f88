"""torchvision's networks and the same weights files in this program: probabilities and features.

    python benches/peer/import_torchvision.py ALEXNET PHOTOS WORK
    python benches/peer/import_torchvision.py ALEXNET PHOTOS WORK --nets vgg11 vgg11_bn --images 100

ALEXNET is this program, PHOTOS a folder of images, WORK a folder for weights and predictions. Weights
are random (He et al. 2015); the last layer is centred and scaled until the median of the largest
probability is 0.6, so that classes differ. Prints for each network and file format how many images
have the same five classes in the same order, and the largest difference of a probability; for alexnet
also the largest difference of conv5 and fc7, in multiples of the layer's largest value, against
PyTorch's f32 and f64. Needs torch, torchvision, numpy, safetensors and onnx.
"""

import argparse
import copy
import json
import pathlib
import subprocess

import numpy as np
import safetensors.torch
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms as T

PREPARE = T.Compose([
    T.Resize(256), T.CenterCrop(224), T.ToTensor(),
    T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])
CATEGORIES = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.meta["categories"]


@torch.no_grad()
def scores(net, x):
    return torch.cat([net(part) for part in x.split(10)])


@torch.no_grad()
def network(name, x):
    """A network with random weights, whose probabilities are far from uniform on `x`."""
    torch.manual_seed(1)
    net = getattr(torchvision.models, name)(weights=None)
    for layer in net.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.normal_(layer.bias, 0, 0.05)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.2)
            layer.momentum = 0.5
    if name.endswith("_bn"):
        net.train()
        for part in x[:16].split(8):
            net(part)
    net.eval()
    last = net.classifier[-1]
    z = scores(net, x)
    last.bias -= z.mean(0)
    z -= z.mean(0)
    scale = 1.0
    while torch.softmax(scale * z, 1).max(1).values.median() < 0.6:
        scale *= 1.1
    last.weight *= scale
    last.bias *= scale
    return net


def save(net, name, work, image):
    """The weights in three formats."""
    files = [work / f"{name}.{ending}" for ending in ("pth", "safetensors", "onnx")]
    torch.save(net.state_dict(), files[0])
    safetensors.torch.save_file(net.state_dict(), files[1])
    torch.onnx.export(net, (image,), str(files[2]), dynamo=False)
    return files


def compare_probabilities(alexnet, file, photos, expected):
    command = [alexnet, "predict", *photos, "--weights", file, "--json", "--progress", "none"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert len(lines) == len(photos), f"{len(lines)} results"
    same, worst = 0, 0.0
    for line, p in zip(lines, expected):
        names = [guess["name"] for guess in json.loads(line)["top"]]
        top = p.topk(5)
        same += names == [CATEGORIES[index] for index in top.indices]
        given = [guess["probability"] for guess in json.loads(line)["top"]]
        worst = max(worst, *(abs(a - b) for a, b in zip(given, top.values.tolist())))
    print(f"{file.name}: {same} of {len(photos)} with the same five; probabilities within {worst:.1e}")


@torch.no_grad()
def compare_features(alexnet, net, file, photos, x, work):
    out = work / "features.npz"
    command = [alexnet, "features", *photos, "--weights", file, "--layer", "conv5", "fc7",
               "--layout", "nchw", "--out", out, "--progress", "none"]
    subprocess.run(command, check=True, capture_output=True)
    ours = np.load(out)
    for precision in (torch.float32, torch.float64):
        exact = copy.deepcopy(net).to(precision)
        found = {}
        for name, layer in (("conv5", exact.features[10]), ("fc7", exact.classifier[4])):
            rows = found[name] = []
            layer.register_forward_hook(lambda _l, _i, y, rows=rows: rows.append(y.clone()))
        scores(exact, x.to(precision))
        for name, rows in found.items():
            theirs = torch.cat(rows).numpy()
            error = np.abs(ours[name].reshape(theirs.shape) - theirs).max() / np.abs(theirs).max()
            print(f"{name}: within {error:.1e} of the largest value of PyTorch's {precision}")


def main():
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("alexnet", type=pathlib.Path)
    parse.add_argument("photos", type=pathlib.Path)
    parse.add_argument("work", type=pathlib.Path)
    parse.add_argument("--nets", nargs="*", default=["alexnet", "vgg11", "vgg11_bn", "vgg16"])
    parse.add_argument("--images", type=int, default=100)
    args = parse.parse_args()
    args.work.mkdir(exist_ok=True)
    photos = sorted(file for file in args.photos.rglob("*") if file.is_file())[: args.images]
    x = torch.stack([PREPARE(Image.open(photo).convert("RGB")) for photo in photos])
    for name in args.nets:
        net = network(name, x)
        expected = torch.softmax(scores(net, x), 1)
        print(f"{name}: median of the largest probability {expected.max(1).values.median():.2f}")
        files = save(net, name, args.work, x[:1])
        for file in files:
            compare_probabilities(args.alexnet, file, photos, expected)
        if name == "alexnet":
            compare_features(args.alexnet, net, files[0], photos, x, args.work)


if __name__ == "__main__":
    main()
