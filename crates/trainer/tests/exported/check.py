"""Checks exported files with the programs that they are for.

    python check.py FOLDER DEPLOY.md

FOLDER has a folder for each network with `images.npy` (bytes [images, height, width, 3]), `logits.npy`
(what this program computes of them), `about.json` (classes, mean, scale, torchvision's name) and the
exported files. Needs numpy, onnx and onnxruntime; OpenVINO and safetensors are used if they are
installed, and onnxruntime-web if `ALEXNET_NODE_MODULES` names the folder that has it. What is not
installed is printed as SKIPPED. with_torch.py checks the files in PyTorch.
"""

import contextlib
import importlib
import io
import json
import os
import pathlib
import pickle
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-4
SKIPPED = set()


def optional(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        SKIPPED.add(name)


openvino = optional("openvino")
safetensors = optional("safetensors.numpy")


def close(found, expected, what):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, f"{what}: {found.shape}, not {expected.shape}"
    worst = np.abs(found - expected).max() / np.abs(expected).max()
    assert worst <= TOLERANCE, f"{what}: {worst}"
    return worst


def softmax(scores):
    scores = np.exp(scores - scores.max(1, keepdims=True))
    return scores / scores.sum(1, keepdims=True)


class Restricted(pickle.Unpickler):
    """What `torch.load(weights_only=True)` allows, with arrays for tensors."""

    def __init__(self, archive):
        super().__init__(io.BytesIO(archive.read("archive/data.pkl")))
        self.archive = archive

    def find_class(self, module, name):
        import collections

        return {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self.rebuild,
            ("torch", "FloatStorage"): "<f4",
        }[module, name]

    def persistent_load(self, pid):
        kind, dtype, key, device, count = pid
        assert (kind, device) == ("storage", "cpu")
        values = np.frombuffer(self.archive.read(f"archive/data/{key}"), dtype)
        assert len(values) == count
        return values

    @staticmethod
    def rebuild(storage, offset, shape, strides, requires_grad, hooks):
        assert not requires_grad and not hooks
        strides = [4 * stride for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[offset:], shape, strides)


def tensors(folder):
    """The same tensors from all three files."""
    with np.load(folder / "net.npz") as archive:
        found = {name: archive[name] for name in archive.files if not name.startswith("alexnet.")}
        assert any(name == "alexnet.about" for name in archive.files)
    with zipfile.ZipFile(folder / "net.pth") as archive:
        assert archive.testzip() is None
        others = {"net.pth": Restricted(archive).load()}
    if safetensors:
        others["net.safetensors"] = safetensors.load_file(folder / "net.safetensors")
    for what, other in others.items():
        assert set(other) == set(found), what
        for name, tensor in other.items():
            assert tensor.dtype == np.float32 and np.array_equal(tensor, found[name]), (what, name)
    return found


def check_onnx(folder, x, images, logits, about):
    worst = 0
    for name, feed, expected in [
        ("net.onnx", x, logits),
        ("whole.onnx", images, softmax(logits)),
    ]:
        path = folder / name
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(metadata["classes"]) == about["classes"]
        assert metadata["exif"] == "ignore"
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        [input] = session.get_inputs()
        for count in [1, len(feed)]:
            [found] = session.run(None, {input.name: feed[:count]})
            worst = max(worst, close(found, expected[:count], f"{folder.name}/{name}"))
        if openvino:
            # f32: on some processors it computes in bf16 by default.
            compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            for count in [1, len(feed)]:
                found = compiled(feed[:count])[0]
                what = f"{folder.name}/{name} in OpenVINO"
                worst = max(worst, close(found, expected[:count], what))
    return worst


def blocks(page):
    """The Python blocks of a page by the word after `# file: ` in their first line."""
    text = pathlib.Path(page).read_text()
    found = re.findall(r"```python\n# (\S+):[^\n]*\n(.*?)```", text, re.S)
    return dict(found)


def run_page(folder, code, logits):
    """The page's examples, on the files of one folder."""
    for what in ["onnxruntime", "openvino"]:
        if not optional(what) or not optional("PIL"):
            continue
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code[what], {"__name__": what})
        first = out.getvalue().splitlines()[0].split()
        probabilities = softmax(logits)[0]
        about = json.loads((folder / "about.json").read_text())
        assert first[0] == about["names"][probabilities.argmax()], (what, out.getvalue())
        assert abs(float(first[1]) - probabilities.max()) < 1e-3, (what, out.getvalue())


BROWSER = """
const ort = require(process.argv[1]);
const pixels = require("fs").readFileSync("photo.rgba");
const [HEIGHT, WIDTH, SIDE] = [%d, %d, %d];
const photo = { width: SIDE, height: SIDE };
class OffscreenCanvas {
  getContext() { return this; }
  drawImage(image, ...place) {
    if (image !== photo || place.join() !== [0, 0, SIDE, SIDE].join()) throw Error(place);
  }
  getImageData(left, top, width, height) {
    const row = (y) => pixels.subarray(4 * ((top + y) * SIDE + left)).subarray(0, 4 * width);
    return { data: Buffer.concat(Array.from({ length: height }, (_, y) => row(y))) };
  }
}
(async () => {
%s
})();
"""


def run_browser(folder, page, shape, logits):
    """The page's example for browsers in Node.js, with a canvas that has the pixels."""
    modules = os.environ.get("ALEXNET_NODE_MODULES")
    if not modules or not shutil.which("node") or not optional("PIL"):
        SKIPPED.add("onnxruntime-web (Node.js and ALEXNET_NODE_MODULES)")
        return
    from PIL import Image

    photo = Image.open(folder / "photo.png").convert("RGBA")
    (folder / "photo.rgba").write_bytes(photo.tobytes())
    [code] = re.findall(r"```js\n(.*?)```", pathlib.Path(page).read_text(), re.S)
    code = code.replace("console.log(probabilities.data)",
                        "console.log(JSON.stringify(Array.from(probabilities.data)))")  # fmt: skip
    code = BROWSER % (*shape, photo.width, code)
    module = str(pathlib.Path(modules) / "onnxruntime-web")
    output = subprocess.run(["node", "-e", code, module], cwd=folder, capture_output=True, text=True)
    assert output.returncode == 0, output.stderr
    found = json.loads(output.stdout.splitlines()[-1])
    close(np.array([found]), softmax(logits)[:1], "onnxruntime-web")


def main(root, page):
    code = blocks(page)
    for folder in sorted(path for path in pathlib.Path(root).iterdir() if path.is_dir()):
        images, logits = np.load(folder / "images.npy"), np.load(folder / "logits.npy")
        about = json.loads((folder / "about.json").read_text())
        x = ((images - np.float32(about["mean"])) * np.float32(about["scale"])).astype(np.float32)
        x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        count = len(tensors(folder))
        worst = check_onnx(folder, x, images, logits, about)
        if (folder / "photo.png").exists():
            run_page(folder, code, logits)
            run_browser(folder, page, images.shape[1:3], logits)
        print(f"{folder.name}: {count} tensors, largest difference {worst:.1e}")
    for name in sorted(SKIPPED):
        print(f"SKIPPED: {name} is not installed")


main(*sys.argv[1:])
