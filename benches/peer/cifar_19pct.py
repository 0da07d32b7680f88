"""PyTorch's side of the `cifar-19pct` curve: the same net, recipe and images.

    python benches/peer/cifar_19pct.py DIR --seed 0 1 2

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


def read(folder):
    pixels, labels = [], []
    for label, name in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for file in sorted(name.iterdir()):
            pixels.append(np.asarray(Image.open(file).convert("RGB")))
            labels.append(label)
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float().contiguous()
    return x, torch.tensor(labels)


def net():
    convs = [nn.Conv2d(3, 32, 5, padding=2), nn.Conv2d(32, 32, 5, padding=2)]
    convs.append(nn.Conv2d(32, 64, 5, padding=2))
    average = lambda: nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)
    model = nn.Sequential(
        convs[0], nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(),
        convs[1], nn.ReLU(), average(),
        convs[2], nn.ReLU(), average(),
        nn.Flatten(), nn.Linear(1024, 10),
    )
    groups = []
    for layer, std, decay in zip([*convs, model[-1]], [1e-4, 0.01, 0.01, 0.01], [0.004] * 3 + [3.0]):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
        groups.append({"params": [layer.weight], "lr": 0.001, "weight_decay": decay})
        groups.append({"params": [layer.bias], "lr": 0.002, "weight_decay": 0.0})
    return model, torch.optim.SGD(groups, momentum=0.9)


def errors(seed, epochs, train, test):
    torch.manual_seed(seed)
    model, sgd = net()
    (x, y), (x_test, y_test), curve = train, test, []
    for _ in range(epochs):
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
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    x, y = read(args.dir / "train")
    mean = x.mean(0)
    x -= mean
    x_test, y_test = read(args.dir / "test")
    x_test -= mean
    curves = []
    for seed in args.seed:
        curves.append(errors(seed, args.epochs, (x, y), (x_test, y_test)))
        print(f"seed {seed}:", *(f"{error:.3f}" for error in curves[-1]), flush=True)
    print("mean:  ", *(f"{error:.3f}" for error in np.mean(curves, 0)))


main()
