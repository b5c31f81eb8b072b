#!/usr/bin/env python3
"""Whole jobs of ours and of the Python libraries, taken in turns on one machine, so that ratios come from one run.

    python -m venv venv && venv/bin/pip install torch==2.15.0 transformers==5.23.0 peft==0.21.2
    venv/bin/python ../shared/bench/peers/make_models.py --out models
    cargo build --release --example bench-jobs
    scripts/bench/compare.py --python venv/bin/python --models models --rounds 3 --output bench.json

Each measurement is a process of its own: one warm-up call, then the median of `--reps` calls; of the rounds the median
is printed. Peak memory is the process's high-water mark; that of the peers holds about 700 MB of imports.
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
JOBS = {
    "forward all": (["forward.py", "--logits", "all"], ["forward", "--logits", "all"]),
    "forward last": (["forward.py", "--logits", "last"], ["forward", "--logits", "last"]),
    "lora qv": (["lora_step.py", "--targets", "qv"], ["lora", "--targets", "qv"]),
    "lora all-linear": (["lora_step.py", "--targets", "all-linear"], ["lora", "--targets", "all-linear"]),
}


def run(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="interpreter with torch, transformers and peft")
    parser.add_argument("--models", required=True, help="folder that make_models.py wrote")
    parser.add_argument("--names", default="gpt2-small-rand,smollm-135m-rand")
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/examples/bench-jobs"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--output")
    args = parser.parse_args()
    peers = os.path.join(SHARED, "bench", "peers")
    results = []
    for name in args.names.split(","):
        model = os.path.join(args.models, name)
        for job in args.jobs.split(","):
            theirs, ours = JOBS[job]
            tail = ["--model", model, "--reps", str(args.reps)]
            pairs = []
            for _ in range(args.rounds):
                peer = run([args.python, os.path.join(peers, theirs[0]), *theirs[1:], *tail], {"PYTHONDONTWRITEBYTECODE": "1"})
                pairs.append((peer, run([args.binary, *ours, *tail])))
            middle = lambda side, key: statistics.median(pair[side][key] for pair in pairs)
            row = {
                "model": name, "job": job,
                "peer_tokens_per_s": middle(0, "tokens_per_s"), "tokens_per_s": middle(1, "tokens_per_s"),
                "ratio": statistics.median(ours["tokens_per_s"] / peer["tokens_per_s"] for peer, ours in pairs),
                "peer_peak_mb": middle(0, "peak_rss_mb"), "peak_mb": middle(1, "peak_rss_mb"),
                "runs": pairs,
            }
            results.append(row)
            print(f"{name:18} {job:16} peer {row['peer_tokens_per_s']:7.0f} tok/s {row['peer_peak_mb']:6.0f} MB   "
                  f"ours {row['tokens_per_s']:7.0f} tok/s {row['peak_mb']:6.0f} MB   "
                  f"speed x{row['ratio']:.2f} memory x{row['peak_mb'] / row['peer_peak_mb']:.2f}", flush=True)
    if args.output:
        with open(args.output, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
