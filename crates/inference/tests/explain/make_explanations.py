"""Writes explanations that PyTorch computes of the networks in ../import as JSON.

    pip install torch numpy pillow safetensors
    python make_explanations.py

Made with PyTorch 2.15.0. For each network, picture and class: Grad-CAM of a layer by autograd, its
upsampled form, the gradient of the class score with respect to the normalised input, plain and
guided (a hook on every ReLU), and the drop of the probability under squares of the mean colour. Maps
are stored channels last. The networks are those that ../import/make_networks.py trained.
"""

import json
import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).parent
NETWORKS = HERE.parent / "import"
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
SIDE, STRIDE = 9, 5


def small():
    features = [
        nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(8, 12, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2),
    ]  # fmt: skip
    classifier = [
        nn.Dropout(), nn.Linear(12 * 9, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 4),
    ]  # fmt: skip
    return features, classifier, {"conv2": 3, "relu2": 4, "relu1": 1}


def small_bn():
    features = []
    for inputs, outputs in [(3, 6), (6, 8), (8, 8)]:
        conv = nn.Conv2d(inputs, outputs, 3, 1, 1)
        features += [conv, nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2, 2)]
    classifier = [nn.Linear(8 * 16, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 4)]
    return features, classifier, {"relu3": 10, "batch_norm2": 5}


def normalised(pixels):
    return ((torch.tensor(pixels) / 255 - MEAN) / STD).movedim(2, 0)[None].double()


def squares(extent):
    last = extent - SIDE
    return [*range(0, last, STRIDE), last]


def main():
    expected = {"side": SIDE, "stride": STRIDE, "networks": {}}
    # Pictures and classes whose probability depends on the covered part.
    for name, parts, cases in [
        ("small", small(), [(4, 0), (4, 3)]),
        ("small-bn", small_bn(), [(1, 1), (5, 3)]),
    ]:
        features, classifier, layers = parts
        network = nn.Sequential()
        network.features, network.classifier = nn.Sequential(*features), nn.Sequential(*classifier)
        network.load_state_dict(load_file(NETWORKS / f"{name}.safetensors"))
        network.eval().double()
        outputs = {}
        for layer, at in layers.items():
            keep = lambda _, __, out, layer=layer: outputs.__setitem__(layer, out)
            features[at].register_forward_hook(keep)

        def scores(x):
            return network.classifier(torch.flatten(network.features(x), 1))[0]

        def gradient(x, one):
            x = x.clone().requires_grad_()
            scores(x)[one].backward()
            return x.grad[0].movedim(0, -1).flatten().tolist()

        rows = []
        for picture, one in cases:
            image = np.array(Image.open(NETWORKS / f"picture{picture}.png").convert("RGB"))
            top = round((image.shape[0] - 32) / 2)
            image = image[top : top + 32]
            x = normalised(image)
            found = scores(x)
            cams = {}
            for layer in layers:
                (of_maps,) = torch.autograd.grad(found[one], outputs[layer], retain_graph=True)
                weights = of_maps.mean((2, 3), keepdim=True)
                cam = (weights * outputs[layer]).sum(1, keepdim=True).relu()
                wide = F.interpolate(cam, (32, 32), mode="bilinear", align_corners=False)
                cams[layer] = [cam.flatten().tolist(), wide.flatten().tolist()]
            plain = gradient(x, one)
            relus = [module for module in network.modules() if isinstance(module, nn.ReLU)]
            rule = lambda _, grads, __: tuple(g.clamp(min=0) for g in grads)
            hooks = [relu.register_full_backward_hook(rule) for relu in relus]
            guided = gradient(x, one)
            [hook.remove() for hook in hooks]
            with torch.no_grad():
                before = found.softmax(0)[one]
                total, count = torch.zeros(32, 32).double(), torch.zeros(32, 32)
                for y in squares(32):
                    for z in squares(32):
                        covered = image.copy()
                        covered[y : y + SIDE, z : z + SIDE] = (255 * MEAN).round().numpy()
                        less = before - scores(normalised(covered)).softmax(0)[one]
                        total[y : y + SIDE, z : z + SIDE] += less
                        count[y : y + SIDE, z : z + SIDE] += 1
            rows.append({
                "picture": f"picture{picture}.png", "class": one, "scores": found.tolist(),
                "grad_cam": cams, "gradient": plain, "guided": guided,
                "occlusion": (total / count).flatten().tolist(),
            })  # fmt: skip
        expected["networks"][name] = rows
    shorten = lambda text: float(f"{float(text):.5g}")
    text = json.dumps(json.loads(json.dumps(expected), parse_float=shorten))
    (HERE / "explanations.json").write_text(text + "\n")


main()
