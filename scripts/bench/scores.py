#!/usr/bin/env python3
"""Multiple-choice scoring of ours, of lm-evaluation-harness and of a hand-written prefix cache, taken in turns on one machine.

    python -m venv venv && venv/bin/pip install -r ../shared/bench/peers/requirements.txt
    venv/bin/python ../shared/bench/peers/make_models.py --out models
    cargo build --release --example bench-jobs
    scripts/bench/scores.py --python venv/bin/python --models models --golden golden --output scores.json

Items have a context of about 100 tokens and four options of 1 to 8 tokens; the harness' batch size is the best of three on
a part of them. Ours and the harness are timed from texts to answers, tokenizing included; `prefix` is given tokens. With
`--bbq FILE --bbq-model FOLDER` the same on the documents of a BBQ file with the harness' twelve options. Each measurement is
a process of its own; of the rounds the median is printed. Log-likelihoods are held against the harness'. Peak memory is the
process's high-water mark; that of the peers holds about 700 MB of imports.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SHARED = os.environ.get("COUNTERPATH_SHARED", os.path.join(ROOT, "..", "shared"))
PEERS = os.path.join(SHARED, "bench", "peers")
UNKNOWN = ["Unknown", "Cannot answer", "Can't be determined", "Cannot be determined", "Can't answer", "Not known", "Not enough info",
           "Not enough information", "Not answerable", "Undetermined"]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def bbq_items(path, count):
    """The harness' prompt, and its twelve options: the two that name a group, and ten ways not to know."""
    items = []
    with open(path) as file:
        for line in file:
            doc = json.loads(line)
            named = [doc[f"ans{i}"] for i in range(3) if doc["answer_info"][f"ans{i}"][1] != "unknown"]
            text = f"{doc['context']}\n\nQ: {doc['question']}\nA:"
            items.append({"context": text, "options": [" " + option for option in named + UNKNOWN]})
    return items[:count]


def bbq_peer(args):
    """The harness on the items of inputs.json, timed once after a small warm-up with each batch size."""
    sys.path.insert(0, PEERS)
    from common import emit, peak_mb, setup, timed
    from score import prep_hflm
    setup(args.threads)
    folder = args.bbq_peer
    with open(os.path.join(folder, "inputs.json")) as file:
        items = json.load(file)["items"]
    lm = prep_hflm(args.bbq_model, 64)
    from lm_eval.api.instance import Instance
    owner = next(cell.cell_contents for cell in lm.__closure__ if hasattr(cell.cell_contents, "loglikelihood"))

    def score(some, batch):
        owner.batch_size_per_gpu = batch
        requests = [Instance(request_type="loglikelihood", doc={}, arguments=(item["context"], option), idx=at)
                    for item in some for at, option in enumerate(item["options"])]
        found = iter(owner.loglikelihood(requests, disable_tqdm=True))
        return [[next(found) for _ in item["options"]] for item in some]
    owner._max_length = owner.model.config.max_position_embeddings
    tried = {batch: timed(lambda: score(items[:64], batch), 1, 1)[0]["median_s"] for batch in (16, 64, 256)}
    best = min(tried, key=tried.get)
    time, answers = timed(lambda: score(items, best), 0, args.reps)
    with open(os.path.join(folder, "loglikelihoods.json"), "w") as file:
        json.dump({"loglikelihood": [[a[0] for a in row] for row in answers], "is_greedy": [[bool(a[1]) for a in row] for row in answers]}, file)
    emit({"job": "bbq", "impl": "hflm", "batch_size": best, "tune_s": tried, "items": len(items), "items_per_s": len(items) / time["median_s"],
          "peak_rss_mb": peak_mb(), **time})


def show(results, name, impl, rounds):
    middle = lambda side, key: statistics.median(pair[side].get(key) or float("nan") for pair in rounds)
    row = {
        "model": name, "impl": impl, "peer_items_per_s": middle(0, "items_per_s"), "items_per_s": middle(1, "items_per_s"),
        "ratio": statistics.median(ours["items_per_s"] / peer["items_per_s"] for peer, ours in rounds),
        "peer_peak_mb": middle(0, "peak_rss_mb"), "peak_mb": middle(1, "peak_rss_mb"), "apart": max(o["max_abs_diff_vs_hflm"] for _, o in rounds),
        "greedy_differs": max(o["is_greedy_differs"] for _, o in rounds), "runs": rounds,
    }
    results.append(row)
    ours = rounds[-1][1]
    print(f"{name:18} {impl:7} batch {rounds[-1][0]['batch_size']:3} peer {row['peer_items_per_s']:7.2f}/s {row['peer_peak_mb']:6.0f} MB   "
          f"ours {row['items_per_s']:7.2f}/s {row['peak_mb']:6.0f} MB   speed x{row['ratio']:.2f} memory x{row['peak_mb'] / row['peer_peak_mb']:.2f}   "
          f"apart {row['apart']:.1e}, greedy {row['greedy_differs']}   {ours['run_tokens']} of {ours['asked_tokens']} tokens run", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter with torch, transformers and lm-eval")
    parser.add_argument("--models", help="folder that make_models.py wrote")
    parser.add_argument("--golden", default="golden", help="folder of the items and the log-likelihoods to meet")
    parser.add_argument("--names", default="llama-15m-rand:500,gpt2-small-rand:24,smollm-135m-rand:24", help="models, each with its number of items")
    parser.add_argument("--impls", default="hflm,prefix")
    parser.add_argument("--bbq", help="a BBQ file")
    parser.add_argument("--bbq-model")
    parser.add_argument("--bbq-items", type=int, default=1 << 20)
    parser.add_argument("--bbq-peer", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/examples/bench-jobs"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--reps", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--output")
    args = parser.parse_args()
    if args.bbq_peer:
        return bbq_peer(args)
    results = []
    for name, items in (entry.split(":") for entry in args.names.split(",") if entry and args.models):
        model, golden = os.path.join(args.models, name), os.path.join(args.golden, "score", name)
        reps = ["--reps", str(args.reps), "--warmup", str(args.warmup)]
        ours = [args.binary, "score", "--model", model, "--golden", golden, *reps]
        for impl in args.impls.split(","):
            theirs = [args.python, os.path.join(PEERS, "score.py"), "--model", model, "--impl", impl, "--items", items, "--threads", str(args.threads)]
            rounds = []
            for _ in range(args.rounds):
                rounds.append((run([*theirs, "--golden", args.golden, "--reps", str(args.reps), "--warmup", "0" if impl == "hflm" else "1"]), run(ours)))
            show(results, name, impl, rounds)
    if args.bbq:
        folder = os.path.abspath(os.path.join(args.golden, "bbq"))
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "inputs.json"), "w") as file:
            json.dump({"items": bbq_items(args.bbq, args.bbq_items)}, file)
        theirs = [args.python, os.path.abspath(__file__), "--bbq-peer", folder, "--bbq-model", args.bbq_model, "--threads", str(args.threads)]
        ours = [args.binary, "score", "--model", args.bbq_model, "--golden", folder, "--reps", str(args.reps), "--warmup", str(args.warmup)]
        show(results, os.path.basename(args.bbq_model), "hflm", [(run(theirs), run(ours)) for _ in range(args.rounds)])
    if args.output:
        with open(args.output, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
