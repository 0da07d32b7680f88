"""Fine-tuning in PyTorch and in this program, from the same file and on the same images.

    python benches/peer/finetune.py ALEXNET CIFAR WORK --seeds 1 2 3 4

ALEXNET is this program; CIFAR has train/CLASS/* and test/CLASS/*, images of 32 x 32, of ten classes;
WORK is a folder for weights and runs. PyTorch trains a small network on the first five classes
(25,000 images, 15 epochs). Both programs then train it on 10,000 images of the other five classes,
from that file and from random weights, and test it on 5,000. Prints the top-1 errors in percent, one
line per seed, then means and standard deviations. Needs torch, numpy and Pillow.
"""

import argparse
import json
import pathlib
import statistics
import subprocess

import numpy as np
import torch
from PIL import Image
from torch import nn

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
EPOCHS, RATE, MOMENTUM, DECAY, BATCH = 4, 0.01, 0.9, 5e-4, 64

MODEL = """name = "small"
input = [32, 32, 3]
rows = [
  { conv = { name = "conv1", filters = 24, window = 5, stride = 2, pad = 2 } }, { relu = {} },
  { pool = { window = 3, stride = 2 } },
  { conv = { name = "conv2", filters = 48, window = 3, pad = 1 } }, { relu = {} },
  { pool = { window = 3, stride = 2 } },
  { dropout = { drop = 0.5, inverted = true } }, { linear = { name = "fc3", outputs = 96 } }, { relu = {} },
  { dropout = { drop = 0.5, inverted = true } }, { linear = { name = "fc4", outputs = 5 } },
]
"""

# What the torchvision recipe does otherwise: no augmentation, and PyTorch's initial values.
SETTINGS = {
    "recipe.momentum": MOMENTUM,
    "recipe.decay": DECAY,
    "recipe.schedule.kind": "constant",
    "recipe.augment.mirror": "false",
    "recipe.augment.color": 0,
    "recipe.input.side": 32,
    'recipe.layers."*".weights': '"fan-in-uniform"',
    'recipe.layers."*".biases': '"fan-in-uniform"',
}
# torchvision's normalisation, which a run from random weights would not know.
INPUT = {
    "recipe.input.mean": "color",
    "recipe.input.scale": [1 / (255 * d) for d in DEVIATION.flatten().tolist()],
}


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 24, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(24, 48, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(48 * 9, 96), nn.ReLU(), nn.Dropout(), nn.Linear(96, 5),
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


def files_of(folder, classes, count):
    return [sorted((folder / name).iterdir())[:count] for name in classes]


def read(files):
    pixels = [np.asarray(Image.open(file).convert("RGB")) for row in files for file in row]
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    labels = torch.arange(len(files)).repeat_interleave(len(files[0]))
    return (x - MEAN) / DEVIATION, labels


def link(files, classes, folder):
    """Links to the images, a folder per class."""
    for name, row in zip(classes, files):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for file in row:
            copy = folder / name / file.name
            if not copy.exists():
                copy.symlink_to(file.resolve())


def train(net, x, labels, epochs, rate):
    optimizer = torch.optim.SGD(net.parameters(), rate, momentum=MOMENTUM, weight_decay=DECAY)
    net.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(BATCH):
            if len(batch) < BATCH:
                continue
            loss = nn.functional.cross_entropy(net(x[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def error(net, x, labels):
    net.eval()
    return 100 * (net(x).argmax(1) != labels).double().mean().item()


def theirs(state, seed, images, test):
    torch.manual_seed(seed)
    net = Small()
    if state is not None:
        last = {key for key in state if key.startswith("classifier.4")}
        net.load_state_dict({k: v for k, v in state.items() if k not in last}, strict=False)
    train(net, *images, EPOCHS, RATE)
    return error(net, *test)


def ours(alexnet, work, init, seed):
    settings = SETTINGS if init else SETTINGS | INPUT
    run = work / f"run-{'fine' if init else 'scratch'}-{seed}"
    command = [alexnet, "train", "--data", work / "data", "--model", work / "small.toml",
               "--run", run, "--seed", seed, "--recipe", "torchvision", "--epochs", EPOCHS,
               "--batch-size", BATCH, "--lr", RATE, "--json", "--progress", "none"]
    command += ["--init", init] if init else []
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run([str(it) for it in command], check=True, capture_output=True, text=True)
    return 100 * json.loads(done.stdout.splitlines()[-1])["top1_error"]


def main():
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("alexnet", type=pathlib.Path)
    parse.add_argument("cifar", type=pathlib.Path)
    parse.add_argument("work", type=pathlib.Path)
    parse.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4])
    args = parse.parse_args()
    args.work.mkdir(exist_ok=True)
    (args.work / "small.toml").write_text(MODEL)
    classes = sorted(path.name for path in (args.cifar / "train").iterdir())
    first, second = classes[:5], classes[5:]

    weights = args.work / "pretrained.pth"
    if not weights.exists():
        torch.manual_seed(0)
        net = Small()
        train(net, *read(files_of(args.cifar / "train", first, 5000)), 15, 0.02)
        torch.save(net.state_dict(), weights)
    state = torch.load(weights)

    images = files_of(args.cifar / "train", second, 2000)
    test = files_of(args.cifar / "test", second, 1000)
    link(images, second, args.work / "data" / "train")
    link(test, second, args.work / "data" / "test")
    images, test = read(images), read(test)
    errors = {}
    for seed in args.seeds:
        for name, init in (("fine-tuned", weights), ("from random weights", None)):
            pytorch = theirs(state if init else None, seed, images, test)
            alexnet = ours(args.alexnet, args.work, init, seed)
            print(f"seed {seed}, {name}: PyTorch {pytorch:.2f}, alexnet {alexnet:.2f}", flush=True)
            errors.setdefault((name, "PyTorch"), []).append(pytorch)
            errors.setdefault((name, "alexnet"), []).append(alexnet)
    for (name, program), found in errors.items():
        deviation = statistics.stdev(found) if len(found) > 1 else 0.0
        print(f"{name}, {program}: {statistics.mean(found):.1f} % ({deviation:.1f})")


if __name__ == "__main__":
    main()
