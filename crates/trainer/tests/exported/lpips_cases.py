"""Writes pairs of images, and their distances by the package `lpips`.

    pip install torch torchvision lpips pillow numpy
    python lpips_cases.py FOLDER

The trunk is random (`pnet_rand=True`), seeded; the linear weights are the package's.
"""

import json
import pathlib
import shutil
import sys

import lpips
import numpy as np
import torch
from PIL import Image

torch.manual_seed(3)
torch.set_num_threads(1)
folder = pathlib.Path(sys.argv[1])
network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
state = network.state_dict()
torch.save(state, folder / "lpips.pth")
# The same as two files: torchvision's names, and the package's linear weights.
places = {name.split(".", 2)[2]: values for name, values in state.items() if name.startswith("net.")}
torch.save({f"features.{place}": values for place, values in places.items()}, folder / "alexnet.pth")
package = pathlib.Path(lpips.__file__).parent
shutil.copy(package / "weights/v0.1/alex.pth", folder / "alex.pth")

rng = np.random.default_rng(4)
cases = []
for at, (height, width) in enumerate([(64, 64), (80, 97)]):
    first = rng.integers(0, 256, (height, width, 3))
    second = (first + rng.normal(0, 60 * at + 10, first.shape)).clip(0, 255)
    images = [image.astype(np.uint8) for image in (first, second)]
    tensors = [torch.tensor(image).permute(2, 0, 1)[None] / 127.5 - 1 for image in images]
    with torch.no_grad():
        distance = network(*tensors).item()
    names = [f"{at}-{side}.png" for side in "ab"]
    for name, image in zip(names, images):
        Image.fromarray(image).save(folder / name)
    cases.append({"images": names, "distance": distance})
(folder / "cases.json").write_text(json.dumps(cases))
