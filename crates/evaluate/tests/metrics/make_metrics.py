"""Writes the quality measures that scikit-learn computes of some predictions as JSON.

    pip install scikit-learn
    python make_metrics.py

Made with scikit-learn 1.9.1 and NumPy 2.4.6. Probabilities are multiples of 1/64 that sum to one:
they are exact in 32 bits, and many are equal.
"""

import json
import pathlib
import warnings

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

BINS = 15
rng = np.random.default_rng(1)


def draw(images, classes, labels, never=()):
    """Labels, and probabilities with ties that often favour the label."""
    labels = rng.choice(labels, images)
    counts = np.stack([rng.multinomial(64, rng.dirichlet(np.full(classes, 0.5))) for _ in labels])
    for row, label in zip(counts, labels):
        take = row // 2 if rng.random() < 0.6 else 0 * row
        row -= take
        row[label] += take.sum()
        for one in never:  # its probability goes to the first other class
            row[next(c for c in range(classes) if c not in never)] += row[one]
            row[one] = 0
    counts[rng.random(images) < 0.1] = np.diff(np.linspace(0, 64, classes + 1).astype(int))
    return labels, counts / 64


def measures(labels, probabilities):
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(1)
    every = list(range(classes))
    support = lambda **how: precision_recall_fscore_support(
        labels, predicted, zero_division=0, **how)
    mean = lambda average: dict(zip(["precision", "recall", "f1"], support(average=average)[:3]))
    precision, recall, f1, images = support(average=None, labels=every)
    several = [c for c in every if 0 < (labels == c).sum() < len(labels)]
    areas = {c: roc_auc_score(labels == c, probabilities[:, c]) for c in several}
    auc = np.mean(list(areas.values())) if areas else None
    if several == every and classes > 2:
        whole = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
        assert np.isclose(whole, auc, rtol=0, atol=1e-14)
        auc = whole
    elif several == every:
        whole = roc_auc_score(labels, probabilities[:, 1])
        assert np.isclose(whole, auc, rtol=0, atol=1e-14)
        auc = whole
    confidence, right = probabilities.max(1), predicted == labels
    accuracies, confidences = calibration_curve(right, confidence, n_bins=BINS)
    # calibration_curve leaves out how many images a bin has: the same edges and sides.
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)
    counts = np.bincount(bins, minlength=BINS)
    used = counts[counts > 0]
    error = np.sum(used / len(labels) * np.abs(accuracies - confidences))
    return {
        "accuracy": accuracy_score(labels, predicted),
        "balanced_accuracy": balanced_accuracy_score(labels, predicted),
        "macro": mean("macro"),
        "weighted": mean("weighted"),
        "auc": auc,
        "class_auc": [areas.get(c) for c in every],
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "images": images.tolist(),
        "calibration_error": error,
        "bin_images": counts.tolist(),
        "bin_accuracies": accuracies.tolist(),
        "bin_confidences": confidences.tolist(),
    }


cases = {
    "two classes": draw(40, 2, [0, 1]),
    "five classes": draw(60, 5, range(5)),
    "a class without images": draw(50, 4, [0, 1, 3]),
    "a class never predicted": draw(50, 4, range(4), never=[2]),
    "a class neither there nor predicted": draw(50, 5, [0, 2, 3, 4], never=[1]),
    "one class only": draw(12, 3, [1]),
    "one image": draw(1, 3, [2]),
    "12 classes": draw(150, 12, range(12)),
}
warnings.simplefilter("ignore")  # of classes that are predicted and have no images
rows = []
for name, (labels, probabilities) in cases.items():
    case = {"name": name, "classes": probabilities.shape[1], "labels": labels.tolist()}
    case["sixty_fourths"] = (probabilities * 64).astype(int).ravel().tolist()
    rows.append({**case, **measures(labels, probabilities)})
path = pathlib.Path(__file__).with_name("metrics.json")
path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
