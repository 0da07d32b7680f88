"""PyTorch's AlexNet, making steps when told to: `cargo xtask bench --peer torch` runs it.

Arguments: model (alexnet, torchvision), mode (train, infer), form (eager, channels-last,
compiled), images a batch, threads (0: its own choice). Prints a line once it is ready; then, for
each number read from standard input, makes so many steps and prints their milliseconds as JSON.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


def alexnet():
    """The paper's network: two towers as groups, LRN, overlapping pooling, dropout."""
    # PyTorch divides alpha by n; the paper does not.
    lrn = lambda: nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    relu, pool = lambda: nn.ReLU(inplace=True), lambda: nn.MaxPool2d(3, 2)
    return nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4), relu(), lrn(), pool(),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), relu(), lrn(), pool(),
        nn.Conv2d(256, 384, 3, padding=1), relu(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), relu(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), relu(), pool(),
        nn.Flatten(),
        nn.Linear(9216, 4096), relu(), nn.Dropout(0.5),
        nn.Linear(4096, 4096), relu(), nn.Dropout(0.5),
        nn.Linear(4096, 1000),
    ), 227


def torchvision():
    """torchvision.models.alexnet, written out: no torchvision is needed."""
    relu, pool = lambda: nn.ReLU(inplace=True), lambda: nn.MaxPool2d(3, 2)
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), relu(), pool(),
        nn.Conv2d(64, 192, 5, padding=2), relu(), pool(),
        nn.Conv2d(192, 384, 3, padding=1), relu(),
        nn.Conv2d(384, 256, 3, padding=1), relu(),
        nn.Conv2d(256, 256, 3, padding=1), relu(), pool(),
        nn.Flatten(),
        nn.Dropout(0.5), nn.Linear(9216, 4096), relu(),
        nn.Dropout(0.5), nn.Linear(4096, 4096), relu(),
        nn.Linear(4096, 1000),
    ), 224


def main():
    model, mode, form, images, threads = sys.argv[1:]
    if int(threads):
        torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    net, side = {"alexnet": alexnet, "torchvision": torchvision}[model]()
    x = torch.randn(int(images), 3, side, side)
    y = torch.randint(0, 1000, (int(images),))
    if form == "channels-last":
        net = net.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    net.train(mode == "train")
    run = torch.compile(net) if form == "compiled" else net
    sgd = torch.optim.SGD(net.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4)

    def step():
        if mode == "infer":
            with torch.inference_mode():
                return run(x)
        sgd.zero_grad(set_to_none=True)
        F.cross_entropy(run(x), y).backward()
        sgd.step()

    step()  # compiles, allocates
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {form}", flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            step()
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps(times), flush=True)


main()
