"""cuda-convnet's CIFAR-10 networks in PyTorch, with the same recipes, phases and images.

    python benches/peer/cifar.py DIR --seed 0 1 2
    python benches/peer/cifar.py DIR --net cifar-18pct --precision bf16
    python benches/peer/cifar.py DIR --net cifar-11pct --precision bf16 --state 11pct.pt

DIR has train/CLASS/* and test/CLASS/*, images of 32 x 32. Prints the test error after each epoch
(or every --test-every epochs), one line per seed, then the mean over the seeds. Networks that train
on crops are tested on the centre crop, and after the last epoch also on ten views. Computes in f32,
or with bf16 products in convolutions, in channels-last layout, the fastest on CPUs without
torch.compile. With --state an interrupted run resumes. Needs torch, numpy and Pillow.
"""

import argparse
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

# Phases: epochs, whether every fifth image is held out, and the epochs of the phase before which
# the weights' learning rate is divided by ten.
PHASES = {
    "cifar-19pct": [(10, False, [])],
    "cifar-18pct": [(140, False, [120, 130])],
    "cifar-13pct": [(100, True, []), (60, False, [40, 50])],
    "cifar-11pct": [(350, True, []), (170, False, [150, 160])],
}
CROPPED = ("cifar-13pct", "cifar-11pct")
CROP = 24


def read(folder):
    pixels, labels = [], []
    for label, name in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for file in sorted(name.iterdir()):
            pixels.append(np.asarray(Image.open(file).convert("RGB")))
            labels.append(label)
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float()
    return x.contiguous(memory_format=torch.channels_last), torch.tensor(labels)


class Conv(nn.Conv2d):
    in_bf16 = False

    def __init__(self, channels, filters):
        super().__init__(channels, filters, 5, padding=2)

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16, enabled=Conv.in_bf16):
            y = super().forward(x)
        return y.float()


class Within(nn.Module):
    """cuda-convnet's rnorm: over 3 x 3 pixels of a map, zeros around it."""

    def forward(self, x):
        mean = F.avg_pool2d(x * x, 3, 1, 1)
        return x * (1 + 5e-5 * mean) ** -0.75


class Across(torch.autograd.Function):
    """cuda-convnet's cmrnorm: nn.LocalResponseNorm(9, alpha=1e-3, beta=0.75, k=1), with sums over
    channels as products with a band matrix, which are faster than PyTorch's layer."""

    SIZE, ALPHA, BETA = 9, 1e-3, 0.75

    @staticmethod
    def forward(ctx, x):
        pixels = x.permute(0, 2, 3, 1)
        at = torch.arange(pixels.shape[3])
        near = (at[:, None] - at).abs() <= Across.SIZE // 2
        share = near * (Across.ALPHA / Across.SIZE)
        inverse = (pixels * pixels).matmul(share).add_(1).reciprocal_()
        scale = inverse.sqrt()
        scale.mul_(scale.sqrt())
        y = pixels * scale
        ctx.save_for_backward(pixels, y, inverse, scale, share)
        return y.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx, dy):
        x, y, inverse, scale, share = ctx.saved_tensors
        dy = dy.permute(0, 2, 3, 1)
        terms = (dy * y).mul_(inverse).matmul(share)
        dx = (dy * scale).addcmul_(x, terms, value=-2 * Across.BETA)
        return dx.permute(0, 3, 1, 2)


class Taps(torch.autograd.Function):
    """The 3 x 3 window around each pixel of 6 x 6: (36, images, 9 channels)."""

    @staticmethod
    def forward(ctx, x):
        padded = F.pad(x, (0, 0, 0, 0, 1, 1, 1, 1))
        taps = [padded[y : y + 6, x : x + 6] for y in range(3) for x in range(3)]
        return torch.cat(taps, 3).flatten(0, 1)

    @staticmethod
    def backward(ctx, dy):
        taps = dy.unflatten(0, (6, 6)).chunk(9, 3)
        dx = dy.new_zeros(8, 8, *taps[0].shape[2:])
        for tap, part in enumerate(taps):
            dx[tap // 3 :, tap % 3 :][:6, :6] += part
        return dx[1:7, 1:7]


class Local(nn.Module):
    """A 3 x 3 convolution over 6 x 6 pixels with separate weights and biases for each pixel.

    The layout is (6, 6, images, channels): one matrix product per pixel."""

    def __init__(self, channels, filters):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(36, 9 * channels, filters))
        self.bias = nn.Parameter(torch.empty(36, 1, filters))

    def forward(self, x):
        return torch.baddbmm(self.bias, Taps.apply(x), self.weight).unflatten(0, (6, 6))


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Permute(nn.Module):
    def __init__(self, *order):
        super().__init__()
        self.order = order

    def forward(self, x):
        return x.permute(self.order)


def three_maps(norm):
    """The networks for 32 x 32 pixels."""
    average = lambda: nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)
    return nn.Sequential(
        Conv(3, 32), nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(), norm(),
        Conv(32, 32), nn.ReLU(), average(), norm(),
        Conv(32, 64), nn.ReLU(), average(),
        nn.Flatten(), nn.Linear(1024, 10),
    )


def conv_local(first, second, filters):
    """The networks for crops: the layers after each convolution, and the filters of local3."""
    return nn.Sequential(
        Conv(3, 64), *first,
        Conv(64, 64), *second,
        Permute(2, 3, 0, 1), Local(64, filters), nn.ReLU(), Local(filters, 32), nn.ReLU(),
        Permute(2, 0, 1, 3), nn.Flatten(), nn.Linear(1152, 10),
    )


def net(name):
    """The network, and SGD with parameter groups of weights and biases in turn."""
    pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
    across = lambda: Apply(Across.apply)
    model = {
        "cifar-19pct": lambda: three_maps(nn.Identity),
        "cifar-18pct": lambda: three_maps(Within),
        # Pooling before ReLU gives the same values and is faster.
        "cifar-13pct": lambda: conv_local([pool(), nn.ReLU()], [pool(), nn.ReLU()], 32),
        "cifar-11pct": lambda: conv_local(
            [pool(), nn.ReLU(), across()], [nn.ReLU(), across(), pool()], 64),
    }[name]()
    stds, decays = {
        "cifar-19pct": ([1e-4, 0.01, 0.01, 0.01], [0.004, 0.004, 0.004, 3.0]),
        "cifar-18pct": ([1e-4, 0.01, 0.01, 0.01], [0.004, 0.004, 0.004, 1.0]),
        "cifar-13pct": ([1e-4, 0.01, 0.04, 0.04, 0.01], [0, 0, 0.004, 0.004, 0.004]),
        "cifar-11pct": ([1e-4, 0.01, 0.04, 0.04, 0.01], [0, 0, 0.004, 0.004, 0.01]),
    }[name]
    groups = []
    layers = [layer for layer in model if hasattr(layer, "weight")]
    for layer, std, decay in zip(layers, stds, decays, strict=True):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
        groups.append({"params": [layer.weight], "lr": 0.001, "weight_decay": decay})
        groups.append({"params": [layer.bias], "lr": 0.002, "weight_decay": 0.0})
    model = model.to(memory_format=torch.channels_last)
    return model, torch.optim.SGD(groups, momentum=0.9, fused=True)


def view(top, left, mirrored=False):
    def cut(x):
        x = x[:, :, top : top + CROP, left : left + CROP]
        return x.flip(3) if mirrored else x
    return cut


CENTRE = view(4, 4)
TEN = [view(*corner, mirrored) for corner in [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)]
       for mirrored in (False, True)]


def crops(x, rows):
    """A random crop of each row, mirrored or not."""
    top, left = torch.randint(0, 32 - CROP + 1, (2, len(rows)))
    windows = x.unfold(2, CROP, 1).unfold(3, CROP, 1)
    x = windows[rows, :, top, left].contiguous(memory_format=torch.channels_last)
    return torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, x.flip(3), x)


@torch.inference_mode()
def error(model, x, y, views):
    """The test error of the probabilities averaged over the views."""
    wrong = 0
    for images, labels in zip(x.split(1000), y.split(1000)):
        mean = sum(model(view(images)).softmax(1) for view in views)
        wrong += (mean.argmax(1) != labels).sum().item()
    return wrong / len(y)


def errors(name, seed, limit, every, state, train, test):
    """The test error after each epoch (NaN if not tested), then the error over ten views."""
    torch.manual_seed(seed)
    model, sgd = net(name)
    (x, y), curve = train, []
    cropped = name in CROPPED
    draw = crops if cropped else lambda x, rows: x[rows]
    whole = CENTRE if cropped else lambda x: x
    state = state and state.with_suffix(f".{seed}{state.suffix}")
    if state and state.exists():
        saved = torch.load(state)
        model.load_state_dict(saved["model"])
        sgd.load_state_dict(saved["sgd"])
        torch.set_rng_state(saved["draws"])
        curve = saved["curve"]
        print(*(f" {error:.4f}" for error in curve), sep="", end="", flush=True)
    plan = [(held_out, epoch in lowered) for epochs, held_out, lowered in PHASES[name]
            for epoch in range(epochs if limit is None else min(epochs, limit))]
    for held_out, is_lowered in plan[len(curve):]:
        rows = torch.arange(len(x))
        rows = rows[rows % 5 != 4] if held_out else rows
        if is_lowered:
            for group in sgd.param_groups[::2]:  # only the weights
                group["lr"] /= 10
        for batch in rows[torch.randperm(len(rows))].split(128):
            sgd.zero_grad(set_to_none=True)
            F.cross_entropy(model(draw(x, batch)), y[batch]).backward()
            sgd.step()
        done = len(curve) + 1
        is_tested = done % every == 0 or done == len(plan)
        curve.append(error(model, *test, [whole]) if is_tested else np.nan)
        print(f" {curve[-1]:.4f}", end="", flush=True)
        if state:
            draws, partial = torch.get_rng_state(), state.with_suffix(".part")
            torch.save({"model": model.state_dict(), "sgd": sgd.state_dict(), "draws": draws,
                        "curve": curve}, partial)
            partial.replace(state)
    if cropped:
        curve.append(error(model, *test, TEN))
        print(f"; ten views {curve[-1]:.4f}", end="")
    print(flush=True)
    return curve


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--net", choices=PHASES, default="cifar-19pct")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--epochs", type=int, help="at most, in each phase")
    parser.add_argument("--test-every", type=int, default=1, metavar="EPOCHS")
    parser.add_argument("--state", type=pathlib.Path, help="saved after each epoch, one file per seed")
    args = parser.parse_args()
    Conv.in_bf16 = args.precision == "bf16"
    x, y = read(args.dir / "train")
    mean = x.mean(0)
    x -= mean
    x_test, y_test = read(args.dir / "test")
    x_test -= mean
    curves = []
    for seed in args.seed:
        print(f"seed {seed}:", end="", flush=True)
        curves.append(errors(args.net, seed, args.epochs, args.test_every, args.state,
                             (x, y), (x_test, y_test)))
    print("mean:  ", *(f"{error:.4f}" for error in np.mean(curves, 0)))


main()
