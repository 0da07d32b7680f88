"""PyTorch's side of `cifar-19pct` and `cifar-18pct`: the same nets, recipes and images.

    python benches/peer/cifar.py DIR --seed 0 1 2
    python benches/peer/cifar.py DIR --net cifar-18pct

DIR has train/CLASS/* and test/CLASS/*, images of 32 x 32. Prints the test error after each epoch,
a line a seed, then their mean. Needs torch, numpy and Pillow.
"""

import argparse
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn


# Epochs, and those before which the weights' rate is lowered to a tenth.
EPOCHS = {"cifar-19pct": 10, "cifar-18pct": 140}
LOWERED = {"cifar-19pct": [], "cifar-18pct": [120, 130]}


def read(folder):
    pixels, labels = [], []
    for label, name in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for file in sorted(name.iterdir()):
            pixels.append(np.asarray(Image.open(file).convert("RGB")))
            labels.append(label)
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float().contiguous()
    return x, torch.tensor(labels)


class Lrn(nn.Module):
    """cuda-convnet's rnorm: over 3 x 3 pixels of a map, zeros around it."""

    def forward(self, x):
        mean = F.avg_pool2d(x * x, 3, 1, 1)
        return x * (1 + 5e-5 * mean) ** -0.75


def net(name):
    convs = [nn.Conv2d(3, 32, 5, padding=2), nn.Conv2d(32, 32, 5, padding=2)]
    convs.append(nn.Conv2d(32, 64, 5, padding=2))
    average = lambda: nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)
    norm = Lrn if name == "cifar-18pct" else nn.Identity
    model = nn.Sequential(
        convs[0], nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(), norm(),
        convs[1], nn.ReLU(), average(), norm(),
        convs[2], nn.ReLU(), average(),
        nn.Flatten(), nn.Linear(1024, 10),
    )
    groups = []
    decays = [0.004] * 3 + [1.0 if name == "cifar-18pct" else 3.0]
    for layer, std, decay in zip([*convs, model[-1]], [1e-4, 0.01, 0.01, 0.01], decays):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
        groups.append({"params": [layer.weight], "lr": 0.001, "weight_decay": decay})
        groups.append({"params": [layer.bias], "lr": 0.002, "weight_decay": 0.0})
    return model, torch.optim.SGD(groups, momentum=0.9)


def errors(name, seed, epochs, train, test):
    torch.manual_seed(seed)
    model, sgd = net(name)
    (x, y), (x_test, y_test), curve = train, test, []
    for epoch in range(epochs):
        if epoch in LOWERED[name]:
            for group in sgd.param_groups[::2]:  # the weights' alone
                group["lr"] /= 10
        for batch in torch.randperm(len(x)).split(128):
            sgd.zero_grad(set_to_none=True)
            F.cross_entropy(model(x[batch]), y[batch]).backward()
            sgd.step()
        with torch.inference_mode():
            guesses = torch.cat([model(part).argmax(1) for part in x_test.split(1000)])
        curve.append((guesses != y_test).float().mean().item())
    return curve


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--net", choices=EPOCHS, default="cifar-19pct")
    parser.add_argument("--epochs", type=int, help="the net's own")
    args = parser.parse_args()
    epochs = args.epochs or EPOCHS[args.net]
    x, y = read(args.dir / "train")
    mean = x.mean(0)
    x -= mean
    x_test, y_test = read(args.dir / "test")
    x_test -= mean
    curves = []
    for seed in args.seed:
        curves.append(errors(args.net, seed, epochs, (x, y), (x_test, y_test)))
        print(f"seed {seed}:", *(f"{error:.3f}" for error in curves[-1]), flush=True)
    print("mean:  ", *(f"{error:.3f}" for error in np.mean(curves, 0)))


main()
