"""Epochs of `cifar-18pct` with loading and augmentation in PyTorch, for
`cargo xtask bench --epoch cifar-18pct --data DIR`.

Arguments: DIR/train (with CLASS/*), images per epoch, images per batch, side, threads (0: PyTorch's
default), workers, form (eager, channels-last, compiled), loading. Images are resized to side x side,
cropped to 32 x 32 at random, and half of them mirrored. Loading:

    files      a DataLoader whose workers read and decode every JPEG file in every epoch (Pillow)
    memory     all images decoded once before; crops are gathered by index, one batch at a time

Prints a line when it is ready; then, for each line of standard input, trains an epoch and prints
{"seconds": s, "wait": seconds waited for batches, "images": n}. Needs torch, numpy and Pillow.
"""

import json
import pathlib
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

CROP = 32
RATE = 0.001


class WithinMap(nn.Module):
    """Response normalisation over 3 x 3 pixels of one map; alpha is divided by nine."""

    def forward(self, x):
        return x * (1.0 + 5e-5 * F.avg_pool2d(x * x, 3, 1, 1)).pow(-0.75)


def net():
    """cuda-convnet's layers-18pct, as `eighteen_percent` in crates/models/src/cifar.rs."""
    convs = [nn.Conv2d(3, 32, 5, padding=2), nn.Conv2d(32, 32, 5, padding=2)]
    convs.append(nn.Conv2d(32, 64, 5, padding=2))
    average = lambda: nn.AvgPool2d(3, 2, ceil_mode=True, count_include_pad=False)
    model = nn.Sequential(
        convs[0], nn.MaxPool2d(3, 2, ceil_mode=True), nn.ReLU(inplace=True), WithinMap(),
        convs[1], nn.ReLU(inplace=True), average(), WithinMap(),
        convs[2], nn.ReLU(inplace=True), average(),
        nn.Flatten(), nn.Linear(1024, 10),
    )
    groups = []
    for layer, std, decay in zip([*convs, model[-1]], [1e-4, 0.01, 0.01, 0.01], [0.004] * 3 + [1.0]):
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
        groups.append({"params": [layer.weight], "lr": RATE, "weight_decay": decay})
        groups.append({"params": [layer.bias], "lr": 2 * RATE, "weight_decay": 0.0})
    return model, torch.optim.SGD(groups, momentum=0.9)


class Files(Dataset):
    """JPEG files; crop and mirroring are drawn when a file is read."""

    def __init__(self, folder, images, side):
        classes = sorted(path for path in folder.iterdir() if path.is_dir())
        files = [(file, label) for label, path in enumerate(classes) for file in sorted(path.iterdir())]
        count = min(images, len(files))
        # Spread over all classes, as in our benchmark.
        self.files = [files[position * len(files) // count] for position in range(count)]
        self.side = side

    def square(self, index):
        image = Image.open(self.files[index][0]).convert("RGB")
        if image.size != (self.side, self.side):
            image = image.resize((self.side, self.side), Image.Resampling.BILINEAR)
        return image

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        draws = torch.randint(0, 1 << 16, (3,)).tolist()
        left, top = (draw % (self.side - CROP + 1) for draw in draws[:2])
        pixels = np.asarray(self.square(index))[top : top + CROP, left : left + CROP]
        if draws[2] % 2:
            pixels = pixels[:, ::-1]
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        return torch.from_numpy(pixels), self.files[index][1]


class InMemory:
    """All images decoded once, as N x side x side x 3 bytes."""

    def __init__(self, files, batch):
        pixels = np.stack([np.asarray(files.square(index)) for index in range(len(files))])
        self.pixels, self.batch, self.side = torch.from_numpy(pixels), batch, files.side
        self.labels = torch.tensor([label for _, label in files.files])

    def __iter__(self):
        places = self.side - CROP + 1
        for chosen in torch.randperm(len(self.labels)).split(self.batch):
            n, line = len(chosen), torch.arange(CROP)
            rows = torch.randint(places, (n, 1)) + line
            columns = torch.randint(places, (n, 1)) + line
            mirrored = torch.rand(n, 1) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
            x = self.pixels[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
            yield x.permute(0, 3, 1, 2), self.labels[chosen]


def mean_image(files):
    step = max(1, len(files) // 2000)
    total = [np.asarray(files.square(index), np.float64) for index in range(0, len(files), step)]
    margin = (files.side - CROP) // 2
    inside = slice(margin, margin + CROP)
    mean = np.mean(total, 0)[inside, inside].transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(mean)).float()


def main():
    folder, images, batch, side, threads, workers, form, loading = sys.argv[1:]
    if int(threads):
        torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    files, batch = Files(pathlib.Path(folder), int(images), int(side)), int(batch)
    mean = mean_image(files)
    if loading == "files":
        batches = DataLoader(
            files, batch, shuffle=True, num_workers=int(workers), persistent_workers=True
        )
    else:
        batches = InMemory(files, batch)
    model, sgd = net()
    layout = torch.channels_last if form == "channels-last" else torch.contiguous_format
    model = model.to(memory_format=layout)
    run = torch.compile(model) if form == "compiled" else model

    def train(x, y):
        x = (x.float() - mean).contiguous(memory_format=layout)
        sgd.zero_grad(set_to_none=True)
        F.cross_entropy(run(x), y).backward()
        sgd.step()

    def epoch():
        start, wait, count = time.perf_counter(), 0.0, 0
        before = start
        for x, y in batches:
            wait += time.perf_counter() - before
            train(x, y)
            count += len(y)
            before = time.perf_counter()
        return {"seconds": before - start, "wait": wait, "images": count}

    noise = torch.randint(0, 256, (batch, 3, CROP, CROP), dtype=torch.uint8)
    for _ in range(3):
        train(noise, torch.zeros(batch, dtype=torch.long))  # compiles, allocates
    model.train()
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(epoch()), flush=True)


main()
