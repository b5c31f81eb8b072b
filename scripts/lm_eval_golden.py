#!/usr/bin/env python3
"""What lm-evaluation-harness says to awkward texts: log-likelihoods, rolling log-likelihoods, generated texts.

    python scripts/lm_eval_golden.py --model ../shared/data/models/stories260K --output tests/fixtures/lm_eval/stories260K.json

The texts are made here from a fixed seed: pieces that meet at a seam in every way (whitespace on either side, empty contexts,
the BOS token spelled out, characters outside the vocabulary, words cut in two, contexts longer than the model's
positions). Needs lm-eval 0.4.13 with torch and transformers; nothing is downloaded.
"""
import argparse
import json
import logging
import os
import random
from importlib.metadata import version

os.environ.setdefault("HF_HUB_OFFLINE", "1")
PIECES = [
    "Once upon a time", "there was a little girl named Lily.", "Tim", "She", " ", "  ", "\n", "\n\n", "\t", " \n ", "'s", "n't",
    "do", "don't", ".", "...", "?", "!", " ?", "\"", "He said, \"", "é", "naïve café", "日本", "🙂", "‍", " ", "​", "ﬁ",
    "<s>", "</s>", "<unk>", "<s> ", "<0x0A>", "▁", "▁the", "123", "1,000", "4 + 4 = 8", "A:", "Q: Who?\nA:", "un", "happy", "happily",
    "THE", "tHe", "the", " the", "the ", "\r\n", "\x1f", "\x85", "a" * 40, "ab" * 25, "-", "--", "x_y", "{}", "0", "#", "(a) ", "a)",
]


def text(rng, most):
    return "".join(rng.choice(PIECES) + rng.choice(["", "", " "]) for _ in range(rng.randint(0, most)))


def pairs(rng):
    made = [("", "Once upon a time"), ("", "<s>Once"), ("", " Once"), ("Once upon a time, ", "there was"),
            ("Once upon a time,", " there was"), ("Once upon a time,  \n ", "there was"), ("   ", "Lily"), ("\n", " Lily"),
            ("<s>", "Once"), ("<s> Once upon", " a time"), ("un", "happy"), ("hap", "pily"), ("Tim had a red ball. " * 120, " The end."),
            ("Lily", " " + "went home. " * 20)]
    made += [(context, context[:0] + "x") for context in ("é", "日", "🙂", "a ", "a\t", "a ")]
    while len(made) < 300:
        context, continuation = text(rng, 6), text(rng, 3)
        if continuation.strip():
            made.append((context, continuation))
    return made


def rolling(rng):
    made = ["Once upon a time", "Tim had a red ball. He was happy. " * 150, "a", "<s>Once", " ", "naïve café 🙂"]
    made += [t for t in (text(rng, 200) for _ in range(20)) if t.strip()]
    return made


def prompts(rng):
    untils = [["\n"], ["."], [".", "!"], ["Lily"], ["happy.", "\n\n"]]
    starts = ["Once upon a time, there was a", "Tim had a red ball. He", "One day,", "Lily and Tim", "The little dog", "Once upon a time, there was a cat",
              "She was very sad because", "\"Hello,\" said"]
    return [(s, {"until": u, "max_gen_toks": n, "do_sample": False}) for s in starts for u, n in zip(untils, (8, 20, 40, 60, 30))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    import torch
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    # The tokenizer as tokenizer.json has it: transformers 5 builds a Llama's anew from the vocabulary alone.
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(args.model, "tokenizer.json"), bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, device="cpu")
    rng = random.Random(20)
    rows = []

    def ask(context, continuation):
        """One request alone, so that one refusal does not take the others with it."""
        request = Instance(request_type="loglikelihood", doc={}, arguments=(context, continuation), idx=0)
        try:
            ((value, greedy),) = harness.loglikelihood([request], disable_tqdm=True)
            context_ids, ids = harness._encode_pair(context, continuation) if context else (None, harness.tok_encode(continuation, add_special_tokens=False))
            if not context and ids[0] == harness.prefix_token_id:
                ids = ids[1:]
            return {"loglikelihood": value, "is_greedy": bool(greedy), "tokens": len(ids)}
        except Exception as error:  # noqa: BLE001 - what it refuses is part of the answer
            return {"refused": type(error).__name__}
    for context, continuation in pairs(rng):
        rows.append({"context": context, "continuation": continuation, **ask(context, continuation)})
    whole = []
    for string in rolling(rng):
        request = Instance(request_type="loglikelihood_rolling", doc={}, arguments=(string,), idx=0)
        (value,) = harness.loglikelihood_rolling([request], disable_tqdm=True)
        whole.append({"text": string, "loglikelihood": value, "tokens": len(harness.tok_encode(string))})
    generated = []
    for prompt, options in prompts(rng):
        request = Instance(request_type="generate_until", doc={}, arguments=(prompt, dict(options)), idx=0)
        (answer,) = harness.generate_until([request], disable_tqdm=True)
        generated.append({"prompt": prompt, "until": options["until"], "max_gen_toks": options["max_gen_toks"], "text": answer})
    golden = {
        "versions": {name: version(name) for name in ("lm-eval", "transformers", "torch")},
        "prefix_token": harness.prefix_token_id, "max_length": harness.max_length,
        "loglikelihood": rows, "rolling": whole, "generate_until": generated,
    }
    with open(args.output, "w") as file:
        json.dump(golden, file, ensure_ascii=False, indent=0)
        file.write("\n")


if __name__ == "__main__":
    main()
