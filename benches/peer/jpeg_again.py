"""Images of 32 x 32 that went through JPEG once more, to see what that costs a network.

    python benches/peer/jpeg_again.py DIR OUT

DIR has train/CLASS/* and test/CLASS/*; OUT gets the same tree, as PNG files. Quality 75 with colour
at half the resolution, as CIFAR-10 is often passed on; blocks begin five pixels further left and
up than those of DIR's own files, or there would be next to nothing to lose. Prints by how much a
pixel changes, from 0 to 255, in the mean. Needs numpy and Pillow.
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
