"""Loads v1.caffemodel and v2.caffemodel with OpenCV, an independent reader of Caffe's files.

    pip install "opencv-python-headless<5"
    python3 check_caffe.py
"""

import json
import pathlib

import cv2
import numpy as np

HERE = pathlib.Path(__file__).parent / "caffe"
LAYERS = """
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 6 kernel_size: 3 group: 2 } }
layer { name: "fc3" type: "InnerProduct" bottom: "conv2" top: "fc3"
  inner_product_param { num_output: 8 } }
layer { name: "fc4" type: "InnerProduct" bottom: "fc3" top: "fc4"
  inner_product_param { num_output: 5 } }
"""
NET = 'name: "small" input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8' + LAYERS

expected = json.loads((HERE.parent / "caffe.json").read_text())
for file in ("v1.caffemodel", "v2.caffemodel"):
    definition, model = np.frombuffer(NET.encode(), np.uint8), np.fromfile(HERE / file, np.uint8)
    net = cv2.dnn.readNetFromCaffe(definition, model)
    net.setInput(np.ones((1, 3, 8, 8), np.float32))
    assert net.forward().shape == (1, 5)
    for row in expected[file]:
        layer, blob = row["name"].split(".")
        read = net.getParam(net.getLayerId(layer), 0 if blob == "weight" else 1)
        values = np.array(row["values"], np.float32)
        assert np.array_equal(read.ravel(), values), (file, row["name"])
    print(file, "has the expected parameters")
