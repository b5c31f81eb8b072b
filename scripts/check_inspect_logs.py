"""Loads logs that `counterpath export --inspect` wrote with inspect_ai itself, and recomputes their errors there.

Run: python scripts/check_inspect_logs.py LOG.json…   (needs inspect_ai 0.3.285)
For each metric that is a mean: inspect's mean() and stderr(cluster="cluster") over the samples are the values in the log.
"""
import math, sys

from inspect_ai.log import read_eval_log
from inspect_ai.scorer import mean, stderr
from inspect_ai.scorer._metric import SampleScore, Score

for path in sys.argv[1:]:
    log = read_eval_log(path)
    assert log.status == "success" and log.samples, path
    checked = 0
    for result in log.results.scores:
        scores = [
            SampleScore(score=Score(value=sample.scores[result.name].value), sample_id=sample.id, sample_metadata=sample.metadata)
            for sample in log.samples if result.name in sample.scores
        ]
        assert len(scores) == result.scored_samples, result.name
        for name, metric in [("mean", mean()), ("stderr", stderr(cluster="cluster"))]:
            if name in result.metrics:
                found, told = metric(scores), result.metrics[name].value
                assert math.isclose(found, told, rel_tol=1e-9, abs_tol=1e-12), (path, result.name, name, found, told)
                checked += 1
    keys = set(log.samples[0].metadata)
    assert {"family", "cluster", "role"} <= keys, keys
    print(f"{path}: {len(log.samples)} samples, {len(log.results.scores)} metrics, {checked} values recomputed by inspect")
