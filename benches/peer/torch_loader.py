"""Batches of crops by torchvision and PyTorch's DataLoader, for `cargo xtask bench --loader`.

Usage: torch_loader.py WHAT PATH WORKERS BATCH CROP

WHAT: `folder` (images in class folders: Resize(256), RandomCrop), `shard` (a tar file of prepared
JPEGs, one positioned read per image: RandomCrop) or `resized` (the same with RandomResizedCrop); half
of the images are mirrored, and all are delivered as bytes. Prints its version, then, for each line
with a number of batches, the rate in images per second. Workers are started for each measurement
and warm up before it, so that none run while our loader is measured.
"""

import io
import os
import sys
import tarfile
import time

import torch
import torchvision
from PIL import Image
from torchvision import transforms

WARM_UP = 2


class Shard(torch.utils.data.Dataset):
    """The JPEGs of a tar file in webdataset's layout."""

    def __init__(self, path, transform):
        self.path, self.transform, self.file = path, transform, None
        with tarfile.open(path) as tar:
            members = [m for m in tar.getmembers() if m.name.endswith(".jpg")]
        self.places = [(m.offset_data, m.size) for m in members]

    def __len__(self):
        return len(self.places)

    def __getitem__(self, index):
        if self.file is None:  # one per worker
            self.file = os.open(self.path, os.O_RDONLY)
        offset, size = self.places[index]
        image = Image.open(io.BytesIO(os.pread(self.file, size, offset))).convert("RGB")
        return self.transform(image), 0


def dataset(what, path, crop):
    mirrored = [transforms.RandomHorizontalFlip(), transforms.PILToTensor()]
    if what == "folder":
        cut = [transforms.Resize(256), transforms.RandomCrop(crop)]
        return torchvision.datasets.ImageFolder(path, transforms.Compose(cut + mirrored))
    cut = [transforms.RandomCrop(crop)]
    if what == "resized":
        cut = [transforms.RandomResizedCrop(crop)]
    return Shard(path, transforms.Compose(cut + mirrored))


def rate(images, workers, batch, batches):
    wanted = (WARM_UP + batches) * batch
    sampler = torch.utils.data.RandomSampler(images, num_samples=wanted)
    loader = torch.utils.data.DataLoader(
        images, batch_size=batch, sampler=sampler, num_workers=workers
    )
    start, seen = None, 0
    for number, (pixels, _) in enumerate(loader, 1):
        if start is not None:
            seen += len(pixels)
        if number == WARM_UP:
            start = time.perf_counter()
    return seen / (time.perf_counter() - start)


def main():
    what, path = sys.argv[1:3]
    workers, batch, crop = map(int, sys.argv[3:])
    torch.set_num_threads(1)
    images = dataset(what, path, crop)
    print(f"torchvision {torchvision.__version__}", flush=True)
    for line in sys.stdin:
        print(rate(images, workers, batch, int(line)), flush=True)


if __name__ == "__main__":
    main()
