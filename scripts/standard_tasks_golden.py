"""What lm-eval asks and answers on the standard tasks' fixtures: tests/fixtures/harness/standard/golden.json.

Each of lm-eval's own task files runs on a local file with the model stories260K; per task the script keeps the hash of the
samples' documents, prompts and targets (`task_hashes`), each sample's three hashes, its log-likelihoods, and the metrics.

    COUNTERPATH_SHARED=… python scripts/standard_tasks_golden.py
"""

import json
import os
import pathlib

import lm_eval
import lm_eval.tasks
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks._yaml_loader import load_yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests/fixtures/harness/standard"
SHARED = pathlib.Path(os.environ["COUNTERPATH_SHARED"])
TASKS = pathlib.Path(lm_eval.tasks.__file__).parent

# Name, lm-eval's file, the split's file, examples, further fields.
RUNS = [
    ("hellaswag", "hellaswag/hellaswag.yaml", {"validation": "hellaswag/hellaswag_val.jsonl"}, 0),
    ("arc_easy", "arc/arc_easy.yaml", {"test": "arc/ARC-Easy-hub.jsonl"}, 0),
    ("piqa", "piqa/piqa.yaml", {"validation": "piqa/hub.jsonl"}, 0),
    ("boolq", "super_glue/boolq/default.yaml", {"validation": "boolq/hub.jsonl"}, 0),
    ("winogrande", "winogrande/default.yaml", {"validation": "winogrande/dev.jsonl"}, 0),
    ("lambada_openai", "lambada/lambada_openai.yaml", {"test": "lambada/lambada_test_en.jsonl"}, 0),
    ("truthfulqa_mc1", "truthfulqa/truthfulqa_mc1.yaml", {"validation": "truthfulqa/validation.jsonl"}, 0),
    ("truthfulqa_mc2", "truthfulqa/truthfulqa_mc2.yaml", {"validation": "truthfulqa/validation.jsonl"}, 0),
    ("mmlu_anatomy", "mmlu/default/mmlu_anatomy.yaml", {"test": "mmlu/hub/test.jsonl", "dev": "mmlu/hub/dev.jsonl"}, 5),
    ("wikitext", "wikitext/wikitext.yaml", {"test": "wikitext/test.jsonl"}, 0),
    ("blimp_wh_island", "blimp/wh_island.yaml", {"train": SHARED / "data/language/blimp/wh_island.jsonl"}, 0),
    # Examples from the questions' own file: each question is left out of its own examples.
    ("arc_easy 3 examples", "arc/arc_easy.yaml", {"test": "arc/ARC-Easy-hub.jsonl"}, 3),
    ("winogrande 2 examples", "winogrande/default.yaml", {"validation": "winogrande/dev.jsonl"}, 2),
    ("lambada_openai 2 examples", "lambada/lambada_openai.yaml", {"test": "lambada/lambada_test_en.jsonl"}, 2),
]
LIMIT = 40


def run(model, name, file, splits, shots):
    task = name.split()[0]
    config = load_yaml(TASKS / file)
    config.pop("tag", None)
    config.pop("include", None)
    config["dataset_path"], config["dataset_name"] = "json", None
    config["dataset_kwargs"] = {"data_files": {split: str(FIXTURES / path) for split, path in splits.items()}}
    for split in ("training_split", "validation_split", "test_split", "fewshot_split"):
        if config.get(split) not in splits:
            config.pop(split, None)
    config["task"] = task
    found = lm_eval.simple_evaluate(
        model=model, tasks=[config], num_fewshot=shots, limit=LIMIT, log_samples=True, bootstrap_iters=0, cache_requests=False
    )
    samples = found["samples"][task]
    joined = "".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in samples)
    metrics = {k: v for k, v in found["results"][task].items() if isinstance(v, float) and "stderr" not in k}
    return {
        "task": task,
        "splits": {split: str(path) if isinstance(path, str) else path.name for split, path in splits.items()},
        "num_fewshot": shots,
        "task_hash": lm_eval.utils.hash_string(joined),
        "samples": [
            {
                "doc": s["doc_hash"],
                "prompt": s["prompt_hash"],
                "target": s["target_hash"],
                "loglikelihoods": [float(r[0]) if isinstance(r, (tuple, list)) else float(r) for r in unpacked(s["resps"])],
            }
            for s in samples
        ],
        "metrics": metrics,
    }


def unpacked(resps):
    """One entry a request."""
    return [r[0] if isinstance(r, list) else r for r in resps]


def main():
    model = HFLM(pretrained=str(SHARED / "data/models/stories260K"), device="cpu", dtype="float32", batch_size=8)
    runs = {name: run(model, name, file, splits, shots) for name, file, splits, shots in RUNS}
    (FIXTURES / "golden.json").write_text(json.dumps({"lm_eval": lm_eval.__version__, "runs": runs}, indent=1) + "\n")
    for name, made in runs.items():
        print(name, made["task_hash"][:12], made["metrics"])


if __name__ == "__main__":
    main()
