"""Inference with an ONNX model, for `cargo xtask bench --peer openvino` and `onnxruntime`.

Arguments: the engine (openvino, onnxruntime), the model's file, images per batch, threads (0: the
engine's default) and precision (f32; bf16 only with openvino). Prints a line when it is ready, and
then replies to each line of standard input with one line of JSON:

    steps N     runs the model N times: their milliseconds, [ms, ...]

The input is the same for every run: floats [images, 3, height, width], drawn with seed 0. Needs
numpy and the engine.
"""

import json
import sys
import time

import numpy as np


def openvino(model, images, threads, precision):
    import openvino as ov

    core = ov.Core()
    network = core.read_model(model)
    _, *image = network.input().partial_shape
    network.reshape([images, *(size.get_length() for size in image)])
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    compiled = core.compile_model(network, "CPU", options)
    found = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if found != precision:
        sys.exit(f"OpenVINO computes in {found} on this processor, not in {precision}")
    request = compiled.create_infer_request()

    def run(x):
        request.infer({0: x}, share_inputs=True)
        return request.get_output_tensor(0).data

    return ov.__version__.split("-")[0], list(compiled.input(0).shape), run


def onnxruntime(model, images, threads, precision):
    import onnxruntime as ort

    if precision != "f32":
        sys.exit(f"ONNX Runtime has no {precision} on CPUs: compare with --precision f32")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()

    def run(x):
        return session.run(None, {given.name: x})[0]

    return ort.__version__, [images, *given.shape[1:]], run


def main():
    engine, model, images, threads, precision = sys.argv[1:]
    begin = {"openvino": openvino, "onnxruntime": onnxruntime}[engine]
    try:
        version, shape, run = begin(model, int(images), int(threads), precision)
    except ImportError as error:
        sys.exit(f"{sys.executable}: {error} (pip install {engine})")
    x = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32) - 127.5
    run(x)
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        _, count = line.split()
        reply = []
        for _ in range(int(count)):
            start = time.perf_counter()
            run(x)
            reply.append((time.perf_counter() - start) * 1e3)
        print(json.dumps(reply), flush=True)


main()
