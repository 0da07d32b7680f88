"""Compresses images of 32 x 32 as JPEG once more, to measure the effect on training.

    python benches/peer/jpeg_again.py DIR OUT

DIR has train/CLASS/* and test/CLASS/*; OUT gets the same tree as PNG files. Quality is 75 with
chroma at half the resolution, as in common JPEG copies of CIFAR-10. The blocks are shifted by five
pixels against those of DIR's files, because compressing the same blocks again changes almost
nothing. Prints the mean absolute change of a pixel, from 0 to 255. Needs numpy and Pillow.
"""

import argparse
import io
import pathlib

import numpy as np
from PIL import Image

SHIFT = 5


def again(pixels):
    size = pixels.shape[0]
    padded = np.pad(pixels, ((SHIFT, 8 - SHIFT), (SHIFT, 8 - SHIFT), (0, 0)), mode="reflect")
    file = io.BytesIO()
    Image.fromarray(padded).save(file, "JPEG", quality=75, subsampling=2)
    return np.asarray(Image.open(file))[SHIFT : SHIFT + size, SHIFT : SHIFT + size]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    changes = []
    for split in ("train", "test"):
        for folder in sorted(path for path in (args.dir / split).iterdir() if path.is_dir()):
            out = args.out / split / folder.name
            out.mkdir(parents=True)
            for file in folder.iterdir():
                pixels = np.asarray(Image.open(file).convert("RGB"))
                after = again(pixels)
                changes.append(np.abs(after.astype(int) - pixels).mean())
                Image.fromarray(after).save(out / f"{file.stem}.png", compress_level=1)
    print(f"{len(changes)} images, changed by {np.mean(changes):.2f} of 255")


main()
