"""Reads what `alexnet track` wrote with MLflow (mlflow-skinny) and TensorBoard.

check.py STORE RUN; exit code 77 if neither package is installed.
"""

import os
import sys

store, run = sys.argv[1:]
checked = 0

os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3 asks for it
try:
    from mlflow import MlflowClient
except ImportError:
    print("mlflow is not installed")
else:
    client = MlflowClient(tracking_uri="file://" + os.path.abspath(store))
    experiment = client.get_experiment_by_name("colours")
    [found] = client.search_runs([experiment.experiment_id])
    assert found.info.run_name == "a" and found.info.status == "FINISHED", found.info
    assert found.data.params["recipe.batch"] == "6", found.data.params
    history = client.get_metric_history(found.info.run_id, "validation/top1_error")
    assert [point.step for point in history] == [4, 8, 12], history
    assert found.data.metrics["validation/top1_error"] == history[-1].value
    names = [artifact.path for artifact in client.list_artifacts(found.info.run_id)]
    assert "config.toml" in names, names
    checked += 1

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
except ImportError:
    print("tensorboard is not installed")
else:
    events = EventAccumulator(os.path.join(run, "events.out.tfevents.track"))
    events.Reload()
    tags = events.Tags()
    image = events.Images("kernels")[-1]
    assert image.encoded_image_string.startswith(b"\x89PNG") and image.width > 0, tags
    histogram = events.Histograms("weights/conv1.weight")[-1].histogram_value
    assert histogram.num == 8 * 3 * 3 * 3 and sum(histogram.bucket) == histogram.num, histogram
    assert histogram.min < 0 < histogram.max and histogram.bucket_limit[-1] >= histogram.max
    data = events.PluginTagToContent(metadata.PLUGIN_NAME)
    start = metadata.parse_session_start_info_plugin_data(data[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["recipe.batch"].number_value == 6, start
    assert start.hparams["model"].string_value.endswith("tiny.toml"), start
    metadata.parse_session_end_info_plugin_data(data[metadata.SESSION_END_INFO_TAG])
    checked += 1

sys.exit(0 if checked else 77)
