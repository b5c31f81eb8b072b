#!/usr/bin/env python3
"""Patching sweeps of ours and of the Python libraries, taken in turns on one machine, on the same pairs and weights.

    python -m venv venv && venv/bin/pip install -r ../shared/bench/peers/requirements.txt
    venv/bin/python ../shared/bench/peers/make_models.py --out models
    cargo build --release --example bench-jobs
    scripts/bench/sweeps.py --python venv/bin/python --models models --golden golden --output sweeps.json

`resid` patches resid_pre at every layer and position, `z` every head's output at every layer; 24 tokens a pair, the logit
difference at the last one. The pairs and the outcomes to meet are those of plain PyTorch hooks, made once into
`--golden`. Ours are held against our naive engine too, once and outside the timing. Each measurement is a process of its own; of the rounds the median is printed. Peak memory is the process's
high-water mark; that of the peers holds about 700 MB of imports.
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
SCRIPT = os.path.join(SHARED, "bench", "peers", "patch_sweep.py")


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="interpreter with torch, transformers and the libraries")
    parser.add_argument("--models", required=True, help="folder that make_models.py wrote")
    parser.add_argument("--golden", required=True, help="folder of the pairs and the outcomes to meet")
    parser.add_argument("--names", default="llama-15m-rand:16,gpt2-small-rand:4,smollm-135m-rand:2",
                        help="models, each with its number of pairs")
    parser.add_argument("--impls", default="fast-skip,tl,nnsight,pyvene")
    parser.add_argument("--sweeps", default="resid,z")
    parser.add_argument("--binary", default=os.path.join(ROOT, "target/release/examples/bench-jobs"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--output")
    args = parser.parse_args()
    results = []
    for name, pairs in (entry.split(":") for entry in args.names.split(",")):
        model, golden = os.path.join(args.models, name), os.path.join(args.golden, "patch_sweep", name)
        theirs = [args.python, SCRIPT, "--model", model, "--pairs", pairs, "--golden", args.golden]
        if not os.path.exists(os.path.join(golden, "effects.safetensors")):
            run([*theirs, "--impl", "hooks", "--warmup", "0", "--reps", "1"])
        reps = ["--reps", str(args.reps), "--warmup", str(args.warmup)]
        for sweep in args.sweeps.split(","):
            ours = [args.binary, "sweep", "--model", model, "--golden", golden, "--sites", sweep]
            oracle = run([*ours, "--naive", "--reps", "1", "--warmup", "0"])
            exact = oracle.get("first_pair_from_double_precision")
            exact = f"; from double precision ours lie {exact['ours']:.1e}, the naive engine's {exact['naive']:.1e}" if exact else ""
            print(f"{name:18} {sweep:6} {oracle['max_diff_vs_naive_over_scale']:.1e} of the largest effect from the naive engine; "
                  f"{oracle['gmacs']:.1f} GMAC where full passes take {oracle['naive_gmacs']:.1f}{exact}", flush=True)
            for impl in args.impls.split(","):
                rounds = []
                for _ in range(args.rounds):
                    peer = run([*theirs, "--impl", impl, "--sweeps", sweep, *reps])
                    peer.update(peer["sweeps"][sweep])
                    rounds.append((peer, run([*ours, *reps])))
                middle = lambda side, key: statistics.median(pair[side].get(key) or float("nan") for pair in rounds)
                row = {
                    "model": name, "sweep": sweep, "impl": impl,
                    "peer_patches_per_s": middle(0, "patches_per_s"), "patches_per_s": middle(1, "patches_per_s"),
                    "ratio": statistics.median(ours["patches_per_s"] / peer["patches_per_s"] for peer, ours in rounds),
                    "peer_peak_mb": middle(0, "peak_rss_mb"), "peak_mb": middle(1, "peak_rss_mb"),
                    "naive": oracle["max_diff_vs_naive_over_scale"], "max_abs_diff": middle(1, "max_abs_diff_vs_hooks"), "gmacs_per_s": middle(1, "gmacs_per_s"),
                    "runs": rounds,
                }
                results.append(row)
                print(f"{name:18} {sweep:6} {impl:10} peer {row['peer_patches_per_s']:7.1f}/s {row['peer_peak_mb']:6.0f} MB   "
                      f"ours {row['patches_per_s']:7.1f}/s {row['peak_mb']:6.0f} MB   speed x{row['ratio']:.2f} "
                      f"memory x{row['peak_mb'] / row['peer_peak_mb']:.2f}   apart {row['max_abs_diff']:.1e}", flush=True)
    if args.output:
        with open(args.output, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
