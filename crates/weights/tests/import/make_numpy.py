"""Writes archives of NumPy for the tests, and what they hold as JSON.

    pip install numpy
    python make_numpy.py

Made with NumPy 2.4.
"""

import json
import pathlib
import shutil

import numpy as np

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "numpy"
values = np.arange(-6, 6).reshape(2, 3, 2) / 8
arrays = {
    "b.weight": values.astype("<f4"),
    "a.weight": np.asfortranarray(values.astype("<f8")),
    "half": values.astype("<f2"),
    "scalar": np.float32(0.75),
    "counts": np.arange(3),
    "empty": np.zeros((0, 4), "<f4"),
}
np.savez(FOLDER / "types.npz", **arrays)
np.savez_compressed(FOLDER / "packed.npz", **arrays)
np.savez(FOLDER / "big.npz", weight=values.astype(">f4"))
rows = lambda array: {
    "shape": list(np.shape(array)),
    "values": [float(value) for value in np.ravel(array)],
}
floats = [{"name": name, **rows(array)} for name, array in arrays.items() if name != "counts"]
(HERE / "numpy.json").write_text(json.dumps({"types.npz": floats}) + "\n")
shutil.copy(FOLDER / "types.npz", HERE.parents[3] / "fuzz/corpus/npz/types.npz")
