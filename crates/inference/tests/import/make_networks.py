"""Writes small networks that PyTorch trained, photographs, and what PyTorch computes of them.

    pip install torch torchvision safetensors onnx onnxscript numpy pillow
    python make_networks.py

Made with PyTorch 2.15 and torchvision 0.29. Both networks have torchvision's names and layers, fewer
channels, and images of 32 x 32: `small` is AlexNet-shaped, `small-bn` VGG-shaped with batch
normalisation. They learn four kinds of generated pictures until the median of the largest
probability is far above one half. `networks.json` has for each picture the logits, the probabilities
and the outputs of layers, by forward hooks.
"""

import json
import pathlib

import numpy as np
import torch
import torchvision.transforms as T
from PIL import Image
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).parent
torch.manual_seed(5)
RNG = np.random.default_rng(5)


class Small(nn.Module):
    """torchvision's alexnet with fewer channels."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(8, 12, 3, 1, 1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((3, 3))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(12 * 9, 20), nn.ReLU(inplace=True),
            nn.Dropout(), nn.Linear(20, 4),
        )  # fmt: skip

    def forward(self, x):
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


class SmallBn(nn.Module):
    """torchvision's vgg with batch normalisation, with fewer layers and channels."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, 1, 1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2),
            nn.Conv2d(6, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2),
            nn.Conv2d(8, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Linear(8 * 16, 16), nn.ReLU(True), nn.Dropout(), nn.Linear(16, 4)
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


def picture(kind, height, width):
    """Stripes across or along, a disc, or a ring, in two colours, with noise."""
    y, x = np.mgrid[:height, :width]
    period, phase = RNG.uniform(6, 12), RNG.uniform(0, 6)
    radius = np.hypot(y - height / 2 + RNG.uniform(-3, 3), x - width / 2 + RNG.uniform(-3, 3))
    size = RNG.uniform(9, 13)
    inside = [
        (y + phase) % period < period / 2,
        (x + phase) % period < period / 2,
        radius < size,
        np.abs(radius - size) < 3,
    ][kind]
    front, back = RNG.integers(0, 256, (2, 3))
    while np.abs(front - back).sum() < 250:
        front, back = RNG.integers(0, 256, (2, 3))
    pixels = np.where(inside[..., None], front, back) + RNG.normal(0, 12, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


PREPROCESS = T.Compose([
    T.Resize(32), T.CenterCrop(32), T.ToTensor(),
    T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])  # fmt: skip


def train(network):
    kinds = [at % 4 for at in range(1600)]
    x = torch.stack([PREPROCESS(picture(kind, 32, 32)) for kind in kinds])
    y = torch.tensor(kinds)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    network.train()
    for epoch in range(30):
        for batch in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(network(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()


def main():
    files, inputs = [], []
    for at, (height, width) in enumerate([(32, 32), (40, 32), (33, 47), (64, 80)] * 2):
        image = picture(at % 4, height, width)
        files.append(f"picture{at}.png")
        image.save(HERE / files[-1], optimize=True)
        inputs.append(PREPROCESS(image))
    inputs = torch.stack(inputs)
    expected = {"pictures": files, "networks": {}}
    for name, network, hooks in [
        ("small", Small(), {"conv2": "features.3", "fc3": "classifier.1"}),
        ("small-bn", SmallBn(), {"conv3": "features.8", "fc4": "classifier.0"}),
    ]:
        train(network)
        outputs = {}
        for layer, module in hooks.items():
            keep = lambda _, __, out, layer=layer: outputs.__setitem__(layer, out.clone())
            network.get_submodule(module).register_forward_hook(keep)
        with torch.no_grad():
            logits = network(inputs)
        probabilities = logits.softmax(1)
        print(name, "median of the largest probability", probabilities.max(1).values.median())
        expected["networks"][name] = {
            "logits": logits.tolist(),
            "probabilities": probabilities.tolist(),
            # Of the first two pictures, channels last, as this program stores maps.
            "layers": {
                layer: (out.movedim(1, -1) if out.dim() == 4 else out)[:2].flatten(1).tolist()
                for layer, out in outputs.items()
            },
        }
        state = network.state_dict()
        torch.save(state, HERE / f"{name}.pth")
        save_file(state, HERE / f"{name}.safetensors")
        torch.onnx.export(network, inputs[:1], HERE / f"{name}.onnx", dynamo=False)
    text = json.dumps(expected, indent=0, default=float)
    # Seven digits are more than the tests compare.
    shorten = lambda value: float(f"{value:.7g}") if isinstance(value, float) else value
    text = json.dumps(json.loads(text, parse_float=lambda text: shorten(float(text))))
    (HERE / "networks.json").write_text(text + "\n")


main()
