#!/usr/bin/env python3
"""Records learning rates of PyTorch's schedulers, for ../schedules.rs to compare with.

Each case has the recipe's settings in TOML, the numbers of epochs and of steps in an epoch, and what PyTorch's
optimizer has as `lr` before every step (and `momentum`, where the scheduler changes it). The recipe's rate is RATE.

    python3 schedules.py         # writes schedules.json beside this file
"""

import json
import pathlib

import torch
from torch.optim import lr_scheduler as schedulers

RATE = 0.1
EPOCHS, BATCHES = 5, 7
STEPS = EPOCHS * BATCHES


def run(make, per, epochs=EPOCHS, batches=BATCHES, momentum=0.9):
    """`lr` and `momentum` before every step."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE, momentum=momentum)
    scheduler = make(optimizer)
    rates, momenta = [], []
    for _ in range(epochs):
        for _ in range(batches):
            rates.append(optimizer.param_groups[0]["lr"])
            momenta.append(optimizer.param_groups[0]["momentum"])
            optimizer.step()
            if per == "step":
                scheduler.step()
        if per == "epoch":
            scheduler.step()
    return rates, momenta


def warmed(make, steps, start):
    """A scheduler after a linear warm-up, as torchvision's reference script combines them."""
    def both(optimizer):
        warmup = schedulers.LinearLR(optimizer, start_factor=start, total_iters=steps)
        return schedulers.SequentialLR(optimizer, [warmup, make(optimizer)], milestones=[steps])
    return both


def chained(make, steps, start):
    """A scheduler whose epochs are counted from the beginning, times a linear warm-up per step."""
    class Both:
        def __init__(self, optimizer):
            self.warmup = schedulers.LinearLR(optimizer, start_factor=start, total_iters=steps)
            self.main, self.count = make(optimizer), 0

        def step(self):
            self.count += 1
            self.warmup.step()
            if self.count % BATCHES == 0:
                self.main.step()
    return Both


def cosine(total, end=0.0):
    return lambda optimizer: schedulers.CosineAnnealingLR(optimizer, T_max=total, eta_min=end * RATE)


def cases():
    yield "kind = 'cosine'", "", "step", cosine(STEPS)
    yield "kind = 'cosine'\nend = 0.05", "", "step", cosine(STEPS, 0.05)
    yield "kind = 'cosine'\nper = 'epoch'", "", "epoch", cosine(EPOCHS)
    yield "kind = 'cosine'", "epochs = 1\nstart = 0.01", "step", warmed(cosine(STEPS - BATCHES), BATCHES, 0.01)
    yield "kind = 'cosine'", "steps = 3\nstart = 0.5", "step", warmed(cosine(STEPS - 3), 3, 0.5)
    yield ("kind = 'cosine'\nper = 'epoch'", "epochs = 2\nstart = 0.1", "epoch",
           warmed(cosine(EPOCHS - 2), 2, 0.1))
    yield "kind = 'linear'\nend = 0.1", "", "step", lambda optimizer: schedulers.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.1, total_iters=STEPS)
    yield "kind = 'linear'\nstart = 0.25\nend = 0.75\nper = 'epoch'", "", "epoch", (
        lambda optimizer: schedulers.LinearLR(
            optimizer, start_factor=0.25, end_factor=0.75, total_iters=EPOCHS))
    yield "kind = 'exponential'\nfactor = 0.8\nper = 'epoch'", "", "epoch", (
        lambda optimizer: schedulers.ExponentialLR(optimizer, gamma=0.8))
    yield "kind = 'exponential'\nfactor = 0.8", "", "step", (
        lambda optimizer: schedulers.ExponentialLR(optimizer, gamma=0.8 ** (1 / BATCHES)))
    yield "kind = 'polynomial'", "", "step", lambda optimizer: schedulers.PolynomialLR(
        optimizer, total_iters=STEPS, power=1.0)
    yield "kind = 'polynomial'\npower = 0.9\nper = 'epoch'", "", "epoch", (
        lambda optimizer: schedulers.PolynomialLR(optimizer, total_iters=EPOCHS, power=0.9))
    yield "kind = 'polynomial'\npower = 2", "steps = 5\nstart = 0.2", "step", warmed(
        lambda optimizer: schedulers.PolynomialLR(optimizer, total_iters=STEPS - 5, power=2.0), 5, 0.2)
    yield "kind = 'one-cycle'\ncycle-momentum = [0.85, 0.95]", "", "step", (
        lambda optimizer: schedulers.OneCycleLR(optimizer, max_lr=RATE, total_steps=STEPS))
    yield ("kind = 'one-cycle'\nanneal = 'linear'\nrise = 0.4\nstart = 0.1\nend = 0.001\nper = 'epoch'", "", "epoch",
           lambda optimizer: schedulers.OneCycleLR(
               optimizer, max_lr=RATE, total_steps=EPOCHS, pct_start=0.4, anneal_strategy="linear",
               div_factor=10, final_div_factor=100, cycle_momentum=False))
    yield "kind = 'constant'", "epochs = 2\nstart = 0.3", "step", lambda optimizer: schedulers.LinearLR(
        optimizer, start_factor=0.3, total_iters=2 * BATCHES)
    yield "kind = 'steps'\nafter = [2, 4]\nfactor = 0.1", "epochs = 2\nstart = 0.01", "step", chained(
        lambda optimizer: schedulers.MultiStepLR(optimizer, milestones=[2, 4], gamma=0.1), 2 * BATCHES, 0.01)


if __name__ == "__main__":
    rows = []
    for schedule, warmup, per, make in cases():
        rates, momenta = run(make, per)
        rows.append(dict(schedule=schedule, warmup=warmup, rates=rates))
        if len(set(momenta)) > 1:
            rows[-1]["momenta"] = momenta
    page = dict(torch=torch.__version__, rate=RATE, epochs=EPOCHS, batches=BATCHES, cases=rows)
    path = pathlib.Path(__file__).with_name("schedules.json")
    path.write_text(json.dumps(page, indent=1) + "\n")
    print(path.name, len(rows), "cases")
