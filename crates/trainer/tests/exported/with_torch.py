"""Checks exported files in PyTorch and torchvision.

    python with_torch.py FOLDER DEPLOY.md

FOLDER is that of check.py. Needs numpy, PyTorch 1.13 or later, and torchvision.
"""

import contextlib
import json
import pathlib
import re
import sys

import numpy as np
import torch
import torchvision

TOLERANCE = 1e-4
# Networks of the page's module, and its arguments.
MODULES = {"alexnet": {}, "caffe": {"k": 1.0, "alpha": 1e-4}}


def safetensors(path):
    """The tensors of a file, all f32."""
    file = path.read_bytes()
    start = 8 + int.from_bytes(file[:8], "little")
    found = {}
    for name, entry in json.loads(file[8:start]).items():
        if name != "__metadata__":
            assert entry["dtype"] == "F32", name
            begin, end = (start + offset for offset in entry["data_offsets"])
            values = np.frombuffer(file[begin:end], "<f4").reshape(entry["shape"])
            found[name] = torch.tensor(values)
    return found


def same_tensors(folder, state):
    """The state dict has the tensors of the other files."""
    others = {"net.safetensors": safetensors(folder / "net.safetensors")}
    with np.load(folder / "net.npz") as archive:
        names = [name for name in archive.files if not name.startswith("alexnet.")]
        others["net.npz"] = {name: torch.tensor(archive[name]) for name in names}
    for file, other in others.items():
        assert set(other) == set(state), file
        for name, tensor in state.items():
            assert tensor.dtype == torch.float32 and torch.equal(tensor, other[name]), (file, name)


def close(network, state, x, logits, what):
    network.load_state_dict(state)
    with torch.no_grad():
        found = network.eval()(torch.tensor(x)).numpy()
    worst = np.abs(found - logits).max() / np.abs(logits).max()
    assert worst <= TOLERANCE, f"{what}: {worst}"
    print(f"{what}: largest difference {worst:.1e}")


def run_page(folder, code, x, logits):
    """The page's example for torchvision's alexnet, on the files of one folder."""
    names = {"__name__": "page"}
    with contextlib.chdir(folder):
        exec(code, names)
    network = names["network"]
    assert not network.training
    close(network, network.state_dict(), x, logits, f"{folder.name} in the page's torchvision")


def check(folder, code):
    images, logits = np.load(folder / "images.npy"), np.load(folder / "logits.npy")
    about = json.loads((folder / "about.json").read_text())
    x = ((images - np.float32(about["mean"])) * np.float32(about["scale"])).astype(np.float32)
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    state = torch.load(folder / "net.pth", weights_only=True)
    same_tensors(folder, state)
    classes = logits.shape[1]
    if about["torchvision"]:
        network = getattr(torchvision.models, about["torchvision"])(num_classes=classes)
        close(network, state, x, logits, f"{folder.name} in torchvision {torchvision.__version__}")
    if about["torchvision"] == "alexnet":
        run_page(folder, code["torchvision"], x, logits)
    if folder.name in MODULES:
        names = {"__name__": "module"}
        exec(code["module"], names)
        network = names["AlexNet"](classes, **MODULES[folder.name])
        close(network, state, x, logits, f"{folder.name} in the page's module")


def main(root, page):
    text = pathlib.Path(page).read_text()
    code = dict(re.findall(r"```python\n# (\S+):[^\n]*\n(.*?)```", text, re.S))
    torch.set_num_threads(2)
    for folder in sorted(path for path in pathlib.Path(root).iterdir() if path.is_dir()):
        check(folder, code)


main(*sys.argv[1:])
