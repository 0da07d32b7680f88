"""Steps of AlexNet in PyTorch, for `cargo xtask bench --peer torch`.

Arguments: model (alexnet, torchvision), mode (train, infer), form (eager, channels-last,
compiled, compiled-channels-last, graph-channels-last: the whole training step, update included, in
one CUDA graph), images per batch, threads (0: PyTorch's default), device (cpu,
cuda) and precision (f32, tf32, bf16: under torch.autocast). Prints a line when it is ready, and then
replies to each line of standard input with one line of JSON:

    steps N     runs N steps: their milliseconds, [ms, ...]; on a GPU without waiting in between
    profile     runs a training step under torch.profiler, module by module:
                {"step": ms, "rows": [[module, forward ms, backward ms], ...]}
    memory      the peak memory of the process in bytes (VmHWM)
"""

import json
import os
import sys
import time
from collections import OrderedDict
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function


def features(convs, lrn, pool):
    """Five convolutions with this project's row names; pooling after 1, 2 and 5."""
    rows = OrderedDict()
    for idx, conv in enumerate(convs, 1):
        rows[f"conv{idx}"], rows[f"relu{idx}"] = conv, nn.ReLU(inplace=True)
        if lrn and idx <= 2:
            rows[f"lrn{idx}"] = lrn()
        if idx in (1, 2, 5):
            rows[f"pool{idx}"] = pool()
    rows["flatten"] = nn.Flatten()
    return rows


def alexnet():
    """The paper's network: two towers as groups, LRN, overlapping pooling, dropout."""
    # PyTorch divides alpha by n; the paper does not.
    lrn = lambda: nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
    convs = [
        nn.Conv2d(3, 96, 11, stride=4),
        nn.Conv2d(96, 256, 5, padding=2, groups=2),
        nn.Conv2d(256, 384, 3, padding=1),
        nn.Conv2d(384, 384, 3, padding=1, groups=2),
        nn.Conv2d(384, 256, 3, padding=1, groups=2),
    ]
    rows = features(convs, lrn, lambda: nn.MaxPool2d(3, 2))
    for idx, (inputs, outputs) in enumerate([(9216, 4096), (4096, 4096)], 6):
        rows[f"fc{idx}"] = nn.Linear(inputs, outputs)
        rows[f"relu{idx}"] = nn.ReLU(inplace=True)
        rows[f"dropout{idx}"] = nn.Dropout(0.5)
    rows["fc8"] = nn.Linear(4096, 1000)
    return nn.Sequential(rows), 227


def torchvision():
    """torchvision.models.alexnet, without the dependency on torchvision."""
    convs = [
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.Conv2d(256, 256, 3, padding=1),
    ]
    rows = features(convs, None, lambda: nn.MaxPool2d(3, 2))
    for idx, (inputs, outputs) in enumerate([(9216, 4096), (4096, 4096)], 6):
        rows[f"dropout{idx - 1}"] = nn.Dropout(0.5)
        rows[f"fc{idx}"] = nn.Linear(inputs, outputs)
        rows[f"relu{idx}"] = nn.ReLU(inplace=True)
    rows["fc8"] = nn.Linear(4096, 1000)
    return nn.Sequential(rows), 224


def by_module(events, names):
    """Milliseconds of every module, forward and backward, from the profiler's events.

    An autograd node has the sequence number that was current when its forward op ran. An op that
    makes no node shows the number of the next node, so the later of two ops with one number owns
    it. The sum of a parameter's gradient has no number and follows its layer's node.
    """
    forward, backward, spans, owner = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0), [], {}
    events = sorted(events, key=lambda event: event.time_range.start)
    for event in events:
        if event.name.startswith("row:"):
            name, span = event.name[4:], event.time_range
            forward[name] += span.elapsed_us() / 1e3
            spans.append((name, span.start, span.end))
    for event in events:
        if event.sequence_nr >= 0 and event.name.startswith("aten::"):
            start = event.time_range.start
            inside = [name for name, begin, end in spans if begin <= start < end]
            if inside:
                owner[event.sequence_nr] = inside[0]
    last = names[-1]
    for event in events:
        if event.name.startswith("autograd::engine::evaluate_function"):
            last = owner.get(event.sequence_nr, last)
            backward[last] += event.time_range.elapsed_us() / 1e3
    return [[name, forward[name], backward[name]] for name in names]


@contextmanager
def quiet():
    """Suppresses the profiler's messages on stderr."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def profiled(net, x, y, sgd, cast):
    # The loss is last, because the first node of the backward pass belongs to it.
    names = [name for name, _ in net.named_children()] + ["sgd", "softmax_loss"]
    with quiet(), profile(activities=[ProfilerActivity.CPU]) as profiler:
        start = time.perf_counter()
        with record_function("row:sgd"):
            sgd.zero_grad(set_to_none=True)
        out = x
        with cast:
            for name, module in net.named_children():
                with record_function(f"row:{name}"):
                    out = module(out)
            with record_function("row:softmax_loss"):
                loss = F.cross_entropy(out.float(), y)
        loss.backward()
        with record_function("row:sgd"):
            sgd.step()
        step = (time.perf_counter() - start) * 1e3
    return {"step": step, "rows": by_module(profiler.events(), names)}


def captured(step):
    """The function that replays `step` as one CUDA graph; see "CUDA graphs" in PyTorch's notes."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # cuDNN selects algorithms, SGD allocates its momentum
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def peak_memory():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main():
    model, mode, form, images, threads, device, precision = sys.argv[1:]
    on_gpu, graph = device == "cuda", form.startswith("graph")
    if graph and (not on_gpu or mode == "infer"):
        sys.exit(f"{form} is a form of training steps on a GPU")
    if int(threads):
        torch.set_num_threads(int(threads))
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    net, side = {"alexnet": alexnet, "torchvision": torchvision}[model]()
    net = net.to(device)
    x = torch.randn(int(images), 3, side, side, device=device)
    y = torch.randint(0, 1000, (int(images),), device=device)
    if "channels-last" in form:
        net = net.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    net.train(mode == "train")
    best = "max-autotune" if on_gpu else "default"
    run = torch.compile(net, mode=best) if "compiled" in form else net
    sgd = torch.optim.SGD(
        net.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-4, fused=on_gpu or None
    )
    # Casts of weights in a cache would stay those of the step that was captured.
    bf16 = precision == "bf16"
    cast = torch.autocast(device, torch.bfloat16, enabled=bf16, cache_enabled=not graph)

    def step():
        if mode == "infer":
            with torch.inference_mode(), cast:
                return run(x)
        sgd.zero_grad(set_to_none=True)
        with cast:
            loss = F.cross_entropy(run(x).float(), y)
        loss.backward()
        sgd.step()

    def timed(count):
        if on_gpu:  # measured on the GPU
            events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
            events[0].record()
            for event in events[1:]:
                run_step()
                event.record()
            torch.cuda.synchronize()
            return [start.elapsed_time(stop) for start, stop in zip(events, events[1:])]
        times = []
        for _ in range(count):
            start = time.perf_counter()
            run_step()
            times.append((time.perf_counter() - start) * 1e3)
        return times

    step()  # compiles, allocates
    run_step = captured(step) if graph else step
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        command, *count = line.split()
        if command == "steps":
            reply = timed(int(count[0]))
        elif command == "profile":
            reply = profiled(net, x, y, sgd, cast)
        else:
            reply = peak_memory()
        print(json.dumps(reply), flush=True)


main()
