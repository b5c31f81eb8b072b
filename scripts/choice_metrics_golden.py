"""Golden cases of the metrics of choices, likelihoods and texts: src/harness/metric/golden.json.

lm-eval's metrics come from its own `process_results` and aggregations on made-up log-likelihoods; HELM's and lighteval's from
their definitions, written out below; calibration and selective accuracy from the package that HELM calls
(`uncertainty-calibration` 0.1.4). `counterpath explain` prints the cases, and a test computes them.
"""

import json
import math
import pathlib
import random
import tempfile

import calibration
import lm_eval
import numpy as np
from lm_eval.api.task import ConfigurableTask

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = f"lm-eval {lm_eval.__version__}, ConfigurableTask.process_results and aggregation"
BY_DEFINITION = "worked from the definition by scripts/choice_metrics_golden.py"


def rounded(values, digits=3):
    return [round(float(v), digits) for v in values]


def made_up():
    rng = random.Random(7)
    words = ["yes", "no", "a red ball", "größer", "the man who sat there", "x", " spaced", "日本語", "two words", "perhaps"]
    four = []
    for i in range(40):
        choices = rng.sample(words, 4)
        tokens = [max(1, len(c) // 3 + rng.randrange(2)) for c in choices]
        lls = rounded(-t * rng.uniform(0.2, 3.0) for t in tokens)
        if i == 5:
            lls[2] = lls[0] = max(lls) + 0.25
        if i == 7:
            lls[1], lls[3], tokens[1], tokens[3] = -1.5, -3.0, 1, 2
        four.append(
            {
                "choices": choices,
                "loglikelihoods": lls,
                "tokens": tokens,
                "greedy": [rng.random() < 0.3 for _ in choices],
                "alone": rounded(rng.uniform(-12, -2) for _ in choices),
                "behind_answer": rounded(rng.uniform(-10, -1) for _ in choices),
                "right": [int(np.argmax(lls)) if rng.random() < 0.4 else rng.randrange(4)],
            }
        )
    two = [
        {"choices": ["no", "yes"], "loglikelihoods": rounded(rng.uniform(-4, -0.1) for _ in range(2)), "right": [rng.randrange(2)]}
        for _ in range(15)
    ]
    several = []
    for q in four[:8]:
        several.append({**q, "right": sorted(rng.sample(range(4), rng.randrange(1, 4)))})
    truth = [{**q, "right": [0]} for q in four]
    truth[5] = {**truth[5], "loglikelihoods": [-1.0, -2.0, -1.0, -3.0]}
    continuations = [{"loglikelihood": ll, "greedy": g} for ll, g in zip([-1.5, -2.25, -0.75, -3.0, -1.0], [True, False, True, False, False])]
    whole = [
        {"whole": "Once upon a time\nthere was a ball.", "loglikelihood": -31.25},
        {"whole": " Grüße an alle,  und auf bald ", "loglikelihood": -44.5},
        {"whole": "Ende", "loglikelihood": -7.125},
    ]
    texts = [
        {"text": "The answer is 42.", "wanted": ["the answer is 42"]},
        {"text": "42", "wanted": ["42"]},
        {"text": "Paris!", "wanted": ["paris", "Lyon"]},
        {"text": "I cannot help with that.", "wanted": ["yes"]},
        {"text": "No. 7", "wanted": ["no"]},
        {"text": "", "wanted": ["x"]},
        {"text": "[invalid]", "wanted": ["x"]},
        {"text": "yes", "wanted": ["Yes"]},
    ]
    return {
        "four": four,
        "two": two,
        "several": several,
        "truth": truth,
        "continuations": continuations,
        "whole": whole,
        "texts": texts,
    }


def through_lm_eval(questions, metric, output_type, arguments=None):
    """The metric's value as lm-eval aggregates it."""
    docs, results = [], []
    several = any(len(q.get("right", [0])) > 1 for q in questions)
    for q in questions:
        if output_type == "multiple_choice":
            docs.append({"c": q["choices"], "g": q["right"] if several else q["right"][0], "t": ""})
            pairs = list(zip(q["loglikelihoods"], q.get("greedy", [False] * 9)))
            if metric == "acc_mutual_info":
                pairs += [(a, False) for a in q["alone"]]
            results.append(pairs)
        elif output_type == "loglikelihood":
            docs.append({"t": "x", "g": "y"})
            results.append([(q["loglikelihood"], q["greedy"])])
        elif output_type == "loglikelihood_rolling":
            docs.append({"t": "", "g": q["whole"]})
            results.append([q["loglikelihood"]])
        else:
            docs.append({"t": "x", "g": q["wanted"]})
            results.append([q["text"]])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "docs.jsonl"
        path.write_text("".join(json.dumps(d) + "\n" for d in docs))
        config = {
            "task": "made_up",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(path)}},
            "test_split": "test",
            "output_type": output_type,
            "doc_to_text": "{{t}}",
            "doc_to_target": "g",
            "metric_list": [{"metric": metric, **(arguments or {})}],
        }
        if output_type == "multiple_choice":
            config["doc_to_choice"] = "c"
        task = ConfigurableTask(config=config)
        found = [task.process_results(d, r)[metric] for d, r in zip(task.test_docs(), results)]
        return float(task.aggregation()[metric](found))


def scores(q, scale):
    lls = q["loglikelihoods"]
    if scale == "sum":
        return lls
    if scale == "token":
        return [l / t for l, t in zip(lls, q["tokens"])]
    if scale == "character":
        return [l / len(c) for l, c in zip(lls, q["choices"])]
    if scale == "behind_space":
        return [l / (len(c) - 1 if c[0] == " " else len(c)) for l, c in zip(lls, q["choices"])]
    if scale == "behind_answer":
        return [l - a for l, a in zip(lls, q["behind_answer"])]
    raise ValueError(scale)


def share(questions, scale):
    return float(np.mean([int(np.argmax(scores(q, scale))) in q["right"] for q in questions]))


def tied(questions, scale):
    values = []
    for q in questions:
        s = np.array(scores(q, scale))
        best = np.flatnonzero(s == s.max())
        values.append(np.mean([int(i) in q["right"] for i in best]))
    return float(np.mean(values))


def confident(questions, scale):
    confidence, hit = [], []
    for q in questions:
        s = np.array(scores(q, scale))
        p = np.exp(s - s.max())
        p /= p.sum()
        confidence.append(p.max())
        hit.append(int(int(np.argmax(p)) in q["right"]))
    return np.array(confidence), np.array(hit)


def main():
    data = made_up()
    cases = []

    def case(metric, on, value, source, arguments=None, population=None):
        made = {"metric": metric, "data": on, "value": value, "source": source}
        if arguments:
            made["arguments"] = arguments
        if population:
            made["population"] = population
        cases.append(made)

    for metric in ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match", "brier_score"):
        case(f"{metric}@lm-eval", "four", through_lm_eval(data["four"], metric, "multiple_choice"), HERE)
    for metric in ("acc", "acc_norm", "exact_match"):
        case(f"{metric}@lm-eval", "several", through_lm_eval(data["several"], metric, "multiple_choice"), HERE)
    for metric in ("f1", "mcc", "brier_score"):
        case(f"{metric}@lm-eval", "two", through_lm_eval(data["two"], metric, "multiple_choice"), HERE)
    case("mcc@lm-eval", "four", through_lm_eval(data["four"], "mcc", "multiple_choice"), HERE)
    for metric in ("acc", "perplexity"):
        case(f"{metric}@lm-eval", "continuations", through_lm_eval(data["continuations"], metric, "loglikelihood"), HERE)
    for metric in ("word_perplexity", "byte_perplexity", "bits_per_byte"):
        case(f"{metric}@lm-eval", "whole", through_lm_eval(data["whole"], metric, "loglikelihood_rolling"), HERE)
    for arguments in (
        None,
        {"ignore_case": True},
        {"ignore_case": True, "ignore_punctuation": True},
        {"ignore_case": True, "ignore_punctuation": True, "ignore_numbers": True, "regexes_to_ignore": [r"\s+$", "the "]},
        {"ignore_case": True, "regexes_to_ignore": [r"\. \d"]},
    ):
        value = through_lm_eval(data["texts"], "exact_match", "generate_until", arguments)
        case("exact_match@lm-eval", "texts", value, HERE, arguments)
    lls = [q["loglikelihood"] for q in data["continuations"]]
    case("median@lm-eval", "continuations", float(lm_eval.api.metrics.median(lls)), f"lm-eval {lm_eval.__version__}, api/metrics.py median")
    from lm_eval.tasks.truthfulqa import utils as truthfulqa

    mc2 = [
        truthfulqa.process_results_mc2(
            {"mc2_targets": {"labels": [int(i in q["right"]) for i in range(len(q["choices"]))]}},
            [(ll, False) for ll in q["loglikelihoods"]],
        )["acc"]
        for q in data["several"]
    ]
    case("truthfulqa.mc2@lm-eval", "several", float(np.mean(mc2)), f"lm-eval {lm_eval.__version__}, tasks/truthfulqa/utils.py process_results_mc2")
    case("truthfulqa.mc1@lm-eval", "truth", through_lm_eval(data["truth"], "acc", "multiple_choice"), HERE)
    strict = [q["loglikelihoods"][0] > max(q["loglikelihoods"][1:]) for q in data["truth"]]
    case("truthfulqa.mc1@authors", "truth", float(np.mean(strict)), BY_DEFINITION)
    case("acc_norm@lighteval", "four", share(data["four"], "behind_space"), BY_DEFINITION)
    case("acc_tokens@lighteval", "four", share(data["four"], "token"), BY_DEFINITION)
    case("acc_pmi@lighteval", "four", share(data["four"], "behind_answer"), BY_DEFINITION)
    case("exact_match@helm", "four", tied(data["four"], "token"), BY_DEFINITION)
    case("exact_match@helm_calibrated", "four", tied(data["four"], "behind_answer"), BY_DEFINITION)
    for scale, suffix in (("sum", ""), ("token", "_per_token"), ("character", "_per_character")):
        confidence, hit = confident(data["four"], scale)
        area, tenth = (float(value) for value in calibration.get_selective_stats(confidence, hit))
        for name, rule, bins in (("width10", "get_ece", 10), ("width15", "get_ece", 15), ("mass10", "get_ece_em", 10), ("one_bin", "get_ece", 1)):
            value = float(getattr(calibration, rule)(confidence, hit, num_bins=bins))
            case(f"ece@{name}{suffix}", "four", value, f"uncertainty-calibration 0.1.4, {rule}")
        case(f"selective_accuracy@10{suffix}", "four", tenth, "uncertainty-calibration 0.1.4, get_selective_stats")
        case(f"selective_accuracy@area{suffix}", "four", area, "uncertainty-calibration 0.1.4, get_selective_stats")
        case(f"selective_risk@area{suffix}", "four", 1.0 - area, "uncertainty-calibration 0.1.4, one less get_selective_stats")
        if suffix:
            brier = []
            for q in data["four"]:
                s = np.array(scores(q, scale))
                p = np.exp(s - s.max())
                p /= p.sum()
                brier.append(((p - np.eye(4)[q["right"][0]]) ** 2).sum())
            case(f"brier_score@{suffix[1:]}", "four", float(np.mean(brier)), BY_DEFINITION)
    case("share_unparsed@lm-eval", "texts", 2 / 8, BY_DEFINITION)
    case("share_refused@phrases", "texts", 1 / 8, BY_DEFINITION)
    case("share_not_finite@counterpath", "four", 0.0, BY_DEFINITION)
    lines = [json.dumps(c, ensure_ascii=False) for c in cases]
    sets = [json.dumps(name) + ": [\n   " + ",\n   ".join(json.dumps(q, ensure_ascii=False) for q in qs) + "]" for name, qs in data.items()]
    text = '{"data": {\n  ' + ",\n  ".join(sets) + '},\n "cases": [\n  ' + ",\n  ".join(lines) + "]}\n"
    json.loads(text)
    (ROOT / "src/harness/metric/golden.json").write_text(text)
    for c in cases:
        print(c["metric"], c["data"], c["value"])
    assert not math.isnan(sum(c["value"] for c in cases))


if __name__ == "__main__":
    main()
