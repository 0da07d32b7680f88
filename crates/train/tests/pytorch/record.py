#!/usr/bin/env python3
"""Records ten-step loss curves of PyTorch, for ../pytorch.rs to compare with.

Both sides compute the same initial weights, images and labels from one small formula, so nothing large
is kept. The numbers are those of float64; `f32_errors` says how far float32 strays from
them in PyTorch, relative, step by step: a few units flip at a kink, and training amplifies what they change.

    python3 record.py            # writes alexnet-64.json, torchvision.json and updates.json beside this file

The formula. `draw(epoch, index)` is `Stream::new(SEED, Purpose::Test, epoch, index)` of crates/random: the
words of Philox4x32-10 under the key (SEED, 0) at counters (block, index, epoch, 8), block = 0, 1, ...

    parameter p         p counts weights and biases as the network lists them: conv1.weight is 0
    its value i         bound * (2 * unit - 1) in float32, from word i of draw(0, p), unit = (word >> 8) / 2^24;
                        bound = gain / sqrt(fan_in) in float32, for a weight and its bias alike
    weights lie         [filters, y, x, channels] or [outputs, inputs], inputs in the order (y, x, channel)
    pixel i of a batch  word i of draw(1, 0), its top 8 bits; i runs over [image, y, x, channel]
    x                   (pixel - 127.5) * scale
    label of image n    n % CLASSES

Dropout is left out. A step is the paper's (section 5): v <- 0.9 v - rate (dw + decay w), w <- w + v; for
biases the rate is doubled and there is no decay. From step 6 on the rate is halved.

updates.json has the curves of alexnet-64 with PyTorch's own optimizers, clipping and averages: torch.optim.SGD,
Adam and AdamW, torch.nn.utils.clip_grad_norm_ and clip_grad_value_, torch.optim.swa_utils. `recipe` says in TOML what
differs from the paper's recipe; `averaged` is the loss of the averaged weights on the same images after ten steps.
"""

import json
import pathlib

import numpy as np
import torch
import torch.nn.functional as F

SEED = 2012
PURPOSE_TEST = 8
CLASSES = 10
STEPS = 10
MOMENTUM = 0.9
DECAY = 5e-4

POOL = ("pool", 3, 2)


def conv(name, filters, window, stride=1, pad=0, groups=1):
    return ("conv", name, filters, window, stride, pad, groups)


# The rows of crates/models/src/alexnet.rs, and what each curve is taken with.
MODELS = {
    "alexnet-64": dict(side=64, batch=16, rate=3e-4, scale=1.0, gain=1.5, rows=[
        conv("conv1", 48, 7, stride=2, pad=3), "relu", "lrn", POOL,
        conv("conv2", 128, 5, pad=2, groups=2), "relu", "lrn", POOL,
        conv("conv3", 192, 3, pad=1), "relu",
        conv("conv4", 192, 3, pad=1, groups=2), "relu",
        conv("conv5", 128, 3, pad=1, groups=2), "relu", POOL,
        ("linear", "fc6", 512), "relu",
        ("linear", "fc7", 512), "relu",
        ("linear", "fc8", CLASSES),
    ]),
    "torchvision": dict(side=224, batch=8, rate=1e-3, scale=1 / 64, gain=1.6, rows=[
        conv("conv1", 64, 11, stride=4, pad=2), "relu", POOL,
        conv("conv2", 192, 5, pad=2), "relu", POOL,
        conv("conv3", 384, 3, pad=1), "relu",
        conv("conv4", 256, 3, pad=1), "relu",
        conv("conv5", 256, 3, pad=1), "relu", POOL,
        ("linear", "fc6", 4096), "relu",
        ("linear", "fc7", 4096), "relu",
        ("linear", "fc8", CLASSES),
    ]),
}


def words(epoch, index, count):
    """The first `count` words of a stream, as uint32."""
    mask = np.uint64(0xFFFFFFFF)
    blocks = -(-count // 4)
    counter = [np.arange(blocks, dtype=np.uint64)]
    counter += [np.full(blocks, word, dtype=np.uint64) for word in (index, epoch, PURPOSE_TEST)]
    key = [SEED & 0xFFFFFFFF, SEED >> 32]
    for _ in range(10):
        a = counter[0] * np.uint64(0xD2511F53)
        b = counter[2] * np.uint64(0xCD9E8D57)
        counter = [
            (b >> np.uint64(32)) ^ counter[1] ^ np.uint64(key[0]), b & mask,
            (a >> np.uint64(32)) ^ counter[3] ^ np.uint64(key[1]), a & mask,
        ]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(counter, axis=1).reshape(-1)[:count].astype(np.uint32)


def values(ordinal, shape, fan_in, gain):
    unit = (words(0, ordinal, int(np.prod(shape))) >> np.uint32(8)).astype(np.float32) / np.float32(2**24)
    bound = np.float32(gain) / np.sqrt(np.float32(fan_in))
    return torch.from_numpy((bound * (np.float32(2) * unit - np.float32(1))).reshape(shape))


def parameters(model, dtype):
    """Weights and biases in order, in PyTorch's layout."""
    height, channels = model["side"], 3
    inputs, out = None, []
    for row in model["rows"]:
        kind = row if isinstance(row, str) else row[0]
        if kind == "conv":
            _, _, filters, window, stride, pad, groups = row
            shape, fan_in = (filters, window, window, channels // groups), window * window * channels // groups
            out.append(values(len(out), shape, fan_in, model["gain"]).permute(0, 3, 1, 2))
            out.append(values(len(out), (filters,), fan_in, model["gain"]))
            height, channels = (height + 2 * pad - window) // stride + 1, filters
        elif kind == "pool":
            height = (height - row[1]) // row[2] + 1
        elif kind == "linear":
            fan_in = inputs or height * height * channels
            out.append(values(len(out), (row[2], fan_in), fan_in, model["gain"]))
            out.append(values(len(out), (row[2],), fan_in, model["gain"]))
            inputs = row[2]
    return [value.to(dtype).contiguous().requires_grad_() for value in out]


def forward(model, params, x):
    params = iter(params)
    for row in model["rows"]:
        kind = row if isinstance(row, str) else row[0]
        if kind == "conv":
            _, _, _, _, stride, pad, groups = row
            x = F.conv2d(x, next(params), next(params), stride=stride, padding=pad, groups=groups)
        elif kind == "relu":
            x = F.relu(x)
        elif kind == "lrn":  # PyTorch divides alpha by the five terms, the paper does not
            x = F.local_response_norm(x, size=5, alpha=5 * 1e-4, beta=0.75, k=2.0)
        elif kind == "pool":
            x = F.max_pool2d(x, row[1], row[2])
        elif kind == "linear":
            if x.dim() == 4:
                x = x.permute(0, 2, 3, 1).flatten(1)
            x = F.linear(x, next(params), next(params))
    return x


def inputs(model, dtype):
    side, batch = model["side"], model["batch"]
    pixels = (words(1, 0, batch * side * side * 3) >> np.uint32(24)).astype(np.float64)
    x = torch.from_numpy(pixels.reshape(batch, side, side, 3)).permute(0, 3, 1, 2)
    return ((x - 127.5) * model["scale"]).to(dtype).contiguous(), torch.arange(batch) % CLASSES


def curve(model, dtype):
    x, labels = inputs(model, dtype)
    params = parameters(model, dtype)
    velocities = [torch.zeros_like(param) for param in params]
    losses = []
    for step in range(1, STEPS + 1):
        loss = F.cross_entropy(forward(model, params, x), labels)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, params)
        rate = model["rate"] * (0.5 if step > 5 else 1.0)
        with torch.no_grad():
            for idx, (w, v, dw) in enumerate(zip(params, velocities, gradients)):
                bias = idx % 2 == 1
                v.mul_(MOMENTUM).sub_((2 * rate if bias else rate) * (dw + (0.0 if bias else DECAY) * w))
                w.add_(v)
    return losses


# What differs from the paper's recipe, and the same in PyTorch.
UPDATES = [
    dict(recipe="optimizer = 'sgd-pytorch'", rate=3e-4),
    dict(recipe="optimizer = 'sgd-pytorch'\nnesterov = true", rate=3e-4, nesterov=True),
    dict(recipe="optimizer = 'adam'", rate=3e-5, optimizer="Adam"),
    dict(recipe="optimizer = 'adamw'", rate=3e-5, optimizer="AdamW"),
    dict(recipe="optimizer = 'sgd-pytorch'\nclip-norm = 2.0", rate=3e-4, norm=2.0),
    dict(recipe="optimizer = 'sgd-pytorch'\nclip-value = 0.01", rate=3e-4, value=0.01),
    dict(recipe="optimizer = 'adamw'\nclip-norm = 2.0\n[ema]\ndecay = 0.7", rate=3e-5, optimizer="AdamW", norm=2.0,
         ema=0.7),
]


def updated(row, dtype):
    """The losses of ten steps by a row of UPDATES, and that of the averaged weights."""
    model = MODELS["alexnet-64"]
    x, labels = inputs(model, dtype)
    params = parameters(model, dtype)
    groups = [dict(params=params[0::2], weight_decay=DECAY), dict(params=params[1::2], weight_decay=0.0)]
    if row.get("optimizer"):
        optimizer = getattr(torch.optim, row["optimizer"])(groups, lr=row["rate"], betas=(MOMENTUM, 0.999))
    else:
        optimizer = torch.optim.SGD(groups, lr=row["rate"], momentum=MOMENTUM, nesterov=row.get("nesterov", False))
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(row["ema"]) if "ema" in row else None
    averaged, losses, norms = [], [], []
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(model, params, x), labels)
        losses.append(loss.item())
        loss.backward()
        if "value" in row:
            torch.nn.utils.clip_grad_value_(params, row["value"])
        if "norm" in row:
            norms.append(torch.nn.utils.clip_grad_norm_(params, row["norm"]).item())
        rate = row["rate"] * (0.5 if step > 5 else 1.0)
        for group, times in zip(optimizer.param_groups, (1, 2)):
            group["lr"] = times * rate
        optimizer.step()
        with torch.no_grad():
            if average and not averaged:
                averaged = [param.detach().clone() for param in params]
            elif average:
                average(averaged, params, step)
    if averaged:
        with torch.no_grad():
            return losses, norms, F.cross_entropy(forward(model, averaged, x), labels).item()
    return losses, norms, None


def record_update(row):
    (exact, norms, averaged), (single, _, _) = updated(row, torch.float64), updated(row, torch.float32)
    errors = [abs(a - b) / a for a, b in zip(exact, single)]
    print(row, [round(loss, 4) for loss in exact], f"f32 within {max(errors):.1e}", norms, averaged)
    entry = dict(recipe=row["recipe"], rate=row["rate"], losses=exact, f32_errors=errors)
    return entry | (dict(averaged=averaged) if averaged else {})


def record(name):
    model = MODELS[name]
    exact, single = curve(model, torch.float64), curve(model, torch.float32)
    errors = [abs(a - b) / a for a, b in zip(exact, single)]
    settings = {key: model[key] for key in ("side", "batch", "rate", "scale", "gain")}
    return dict(
        model=name, torch=torch.__version__, seed=SEED, classes=CLASSES, **settings, momentum=MOMENTUM,
        decay=DECAY, bias_rate=2.0, bias_decay=0.0, halved_after_step=5, losses=exact, f32_errors=errors,
    )


if __name__ == "__main__":
    for name in MODELS:
        row = record(name)
        path = pathlib.Path(__file__).with_name(f"{name}.json")
        path.write_text(json.dumps(row, indent=1) + "\n")
        print(path.name, [round(loss, 4) for loss in row["losses"]], f"f32 within {max(row['f32_errors']):.1e}")
    path = pathlib.Path(__file__).with_name("updates.json")
    path.write_text(json.dumps(dict(torch=torch.__version__, updates=[record_update(row) for row in UPDATES]), indent=1) + "\n")
