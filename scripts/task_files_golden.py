#!/usr/bin/env python3
"""What lm-evaluation-harness makes of task files: tests/fixtures/harness/{task_files,functions,filters}.json.

    python scripts/task_files_golden.py --shared ../shared

The task files stand in tests/fixtures/harness/tasks; their documents are the first rows of the shared data sets. Of each task
the hash (equal hashes prove equal documents, prompts and targets), the numbers with their errors, and every response are kept;
of functions and filters what they answer to made-up documents. Needs lm-eval 0.4.13 with torch and transformers; nothing is
downloaded.
"""
import argparse
import csv
import hashlib
import importlib
import json
import os
import pathlib
import shutil
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ["DISABLE_MULTIPROC"] = "1"

import lm_eval
from datasets import Dataset
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.filters import build_filter_ensemble
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests/fixtures/harness"
TASKS = [
    "pairs_group",
    "sentiment_first_n",
    "antonyms_generate",
    "stories_generate",
    "stories_last_word",
    "stories_rolling",
    "contexts_several",
    "crows_local",
    "crows_local_race",
    "bbq_local",
]
ITERATIONS = 2000
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def documents(shared, data):
    """The first rows of each data set."""
    data.mkdir()

    def lines(source, target, count):
        rows = (shared / "data" / source).read_text(encoding="utf-8").splitlines()[:count]
        (data / target).write_text("\n".join(rows) + "\n", encoding="utf-8")

    lines("language/blimp/wh_island.jsonl", "wh_island.jsonl", 30)
    lines("language/blimp/anaphor_gender_agreement.jsonl", "anaphor_gender_agreement.jsonl", 20)
    lines("fairness/bbq/Age.jsonl", "bbq_age.jsonl", 24)
    lines("text/tinystories/stories.jsonl", "stories.jsonl", 12)
    words = json.loads((shared / "data/mediation/function-vectors/antonym.json").read_text(encoding="utf-8"))
    (data / "antonym_train.json").write_text(json.dumps(words[:20]), encoding="utf-8")
    (data / "antonym_test.json").write_text(json.dumps(words[20:44]), encoding="utf-8")

    def table(source, delimiter, parts):
        with open(shared / "data" / source, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter=delimiter))
        for name, (first, last) in parts.items():
            with open(data / name, "w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([rows[0]] + rows[1:][first:last])

    table("robustness/cad/sentiment/dev_paired.tsv", "\t", {"reviews_train.csv": (0, 8), "reviews_test.csv": (8, 32)})
    table("fairness/crows-pairs/crows_pairs_anonymized.csv", ",", {"crows.csv": (0, 40)})


def number(value):
    return float(f"{value:.9g}")


def response(value):
    if isinstance(value, tuple):
        return [number(value[0]), bool(value[1])]
    return value if isinstance(value, str) else number(value)


def run(shared, work):
    model = HFLM(pretrained=str(shared / "data/models/stories260K"), device="cpu", dtype="float32", batch_size=8)
    manager = TaskManager(include_path=str(work), include_defaults=False)
    found = simple_evaluate(
        model=model, tasks=TASKS, task_manager=manager, bootstrap_iters=ITERATIONS, log_samples=True
    )
    out = {}
    for name, samples in found["samples"].items():
        joined = "".join(s["doc_hash"] + s["prompt_hash"] + s["target_hash"] for s in samples)
        results = {
            key: value
            for key, value in found["results"][name].items()
            if "," in key and not (isinstance(value, float) and value != value)
        }
        filters = {}
        for sample in samples:
            filters.setdefault(sample["filter"], []).append(sample["filtered_resps"])
        first = samples[0]["filter"]
        out[name] = {
            "task_hash": hashlib.sha256(joined.encode("utf-8")).hexdigest(),
            "first": {key: samples[0][key] for key in ("doc_hash", "prompt_hash", "target_hash")},
            "n-shot": found["n-shot"][name],
            "version": found["versions"][name],
            "n-samples": found["n-samples"][name],
            "higher_is_better": found["higher_is_better"][name],
            "results": results,
            "resps": [[[response(r) for r in each] for each in s["resps"]] for s in samples if s["filter"] == first],
            "filtered": filters if any(isinstance(v[0][0], (str, list)) for v in filters.values()) else {},
        }
    groups = {
        name: {k: v for k, v in value.items() if "," in k or k in ("alias", "sample_len")}
        for name, value in found["groups"].items()
    }
    top = {key: sorted(found[key]) for key in ("results", "group_subtasks", "versions", "n-shot", "higher_is_better")}
    return out, groups, top, sorted(found), chat(model, manager)


def chat(model, manager):
    """Contexts and continuations under a chat template, as hashes."""
    model.tokenizer.chat_template = TEMPLATE
    out = {"template": TEMPLATE}
    for turns in (True, False):
        tasks = manager.load(["choices_fewshot", "sentiment_first_n", "antonyms_generate", "contexts_several"])["tasks"]
        for name, task in tasks.items():
            task.set_fewshot_seed(1234)
            task.build_all_requests(
                limit=6,
                apply_chat_template=True,
                fewshot_as_multiturn=turns,
                chat_template=model.apply_chat_template,
                system_instruction="Answer well.",
            )
            text = "".join(f"{i.args[0]}\x00{i.args[1] if isinstance(i.args[1], str) else ''}\x01" for i in task.instances)
            out[f"{name}, {'several turns' if turns else 'one turn'}"] = {
                "hash": hashlib.sha256(text.encode("utf-8")).hexdigest(),
                "first": task.instances[0].args[0],
            }
    return out


FILTERS = json.loads((FIXTURES / "filters.json").read_text(encoding="utf-8")) if (FIXTURES / "filters.json").exists() else []


def filters():
    for case in FILTERS:
        components = [[f["function"], {k: v for k, v in f.items() if k != "function"} or None] for f in case["filters"]]
        instance = Instance("generate_until", case["doc"], ("",), 0)
        instance.resps = list(case["responses"])
        build_filter_ensemble("f", components).apply([instance])
        case["filtered"] = instance.filtered_resps["f"]
    return FILTERS


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if hasattr(value, "item"):
        return plain(value.item())
    return "nan" if isinstance(value, float) and value != value else value


def functions(shared):
    """Each known function on documents: of the shared data where they are there, else made up in the data set's format."""
    out = []

    def module(folder, name):
        return importlib.import_module(f"lm_eval.tasks.{folder}.{name}")

    def case(folder, name, kind, given, answer):
        out.append({"folder": folder, "function": name, "kind": kind, "given": given, "answer": plain(answer)})

    def docs(folder, name, rows):
        mod, fn = name.split(".")
        case(folder, name, "documents", rows, list(getattr(module(folder, mod), fn)(Dataset.from_list(rows))))

    def value(folder, name, rows):
        mod, fn = name.split(".")
        for row in rows:
            case(folder, name, "value", row, getattr(module(folder, mod), fn)(dict(row)))

    def results(folder, name, row, answers):
        mod, fn = name.split(".")
        got = getattr(module(folder, mod), fn)(dict(row), answers)
        case(folder, name, "results", [row, answers], got)
        return got

    with open(shared / "data/fairness/crows-pairs/crows_pairs_anonymized.csv", encoding="utf-8", newline="") as file:
        pairs = [{k: row[k] for k in ("sent_more", "sent_less", "bias_type")} for row in csv.DictReader(file)][:30]
    kinds = ("race_color", "socio", "gender", "age", "religion", "disability", "orientation", "nationality", "appearance", "autre")
    for kind in kinds:
        docs("crows_pairs", f"utils.filter_{kind}", pairs)
    value("crows_pairs", "utils.doc_to_choice", pairs[:2])
    for a, b in ((-3.5, -4.25), (-4.25, -3.5), (-2.0, -2.0)):
        results("crows_pairs", "utils.process_results", pairs[0], [[a, False], [b, True]])
    people = [{"sentence": f"s{i}", "gender": g} for i, g in enumerate(["male", "female", "neutral", "female"])]
    for gender in ("male", "female", "neutral"):
        docs("winogender", f"utils.filter_{gender}", people)
    for lls in ((-3.0, -2.0, -1.0, -4.0), (-1.0, -2.0, -3.0, -4.0), (-2.0, -2.0, -2.0, -2.0)):
        results("simple_cooccurrence_bias", "utils.process_results", {"sentence": "s"}, [[ll, False] for ll in lls])
    for said in (["man", "[invalid]"], ["woman", "man"], ["female"], ["[invalid]", "[invalid]"]):
        results("simple_cooccurrence_bias", "utils.process_results_gen", {"sentence": "s"}, [said])
    value("toxigen", "utils.doc_to_target", [{"toxicity_ai": a, "toxicity_human": h} for a, h in ((1.0, 4.5), (3.0, 2.6), (5.0, 5.0))])
    docs(
        "hellaswag",
        "utils.process_docs",
        [
            {"activity_label": "Baking [title] cakes", "ctx_a": "A man  is [header] there.", "ctx_b": "he THEN",
             "endings": [" runs. [step] ", "sits  down", "[a]b"], "label": "1"},
            {"activity_label": "Run", "ctx_a": "", "ctx_b": "", "endings": ["a", "b"], "label": "0"},
        ],
    )
    grande = [
        {"sentence": "Anna thanked Maria because _ had helped.", "option1": "Anna", "option2": "Maria", "answer": "2"},
        {"sentence": "The _  is big.", "option1": "cup", "option2": "box", "answer": "1"},
    ]
    for name in ("doc_to_text", "doc_to_target", "doc_to_choice"):
        value("winogrande", f"preprocess_winogrande.{name}", grande)
    for labels in ([1, 0, 1, 0], [0, 0, 0, 1]):
        row = {"mc2_targets": {"labels": labels}}
        results("truthfulqa", "utils.process_results_mc2", row, [[ll, False] for ll in (-1.0, -2.5, -0.5, -7.0)])
    pages = [
        {"page": " = Robert N Boulter = \n\n He was @-@ born in 1 @,@ 000 ; ( the end ) . \" Quoted text \" and ' one ' [ x ] { y } 's N 3 ° \n = = Film = = \n = = = A = = = \n"},
        {"page": "plain\ttext s ' here : ok ! yes ? no , done . "},
    ]
    value("wikitext", "preprocess_wikitext.wikitext_detokenizer", pages)
    for page in pages:
        results("wikitext", "preprocess_wikitext.process_results", page, [-123.5])
    ethics = [{"activity": f"I did {i}.", "baseline": f"I did not {i}."} for i in range(6)]
    value("hendrycks_ethics", "utils.doc_to_text", ethics)
    value("hendrycks_ethics", "utils.doc_to_target", ethics)
    with open(shared / "data/fairness/bbq/Age.jsonl", encoding="utf-8") as file:
        ages = [json.loads(line) for line in file][:24]
    mixed = [
        dict(ages[0], category="Race_x_SES", answer_info={"ans0": ["F-Black", "lowSES-Black"], "ans1": ["M-nonTrans", "highSES"], "ans2": ["x", "unknown"]},
             additional_metadata=dict(ages[0]["additional_metadata"], stereotyped_groups=["Black"])),
        dict(ages[2], category="Gender_identity", answer_info={"ans0": ["woman", ""], "ans1": ["boy", "girl"], "ans2": ["y", "unknown"]},
             additional_metadata=dict(ages[0]["additional_metadata"], stereotyped_groups=["F", "man"])),
    ]
    for name in ("process_docs", "process_docs_ambig", "process_docs_disambig"):
        docs("bbq", f"utils.{name}", ages if name == "process_docs" else ages[:8])
    docs("bbq", "utils.process_docs", mixed)
    bbq = module("bbq", "utils")
    ready = list(bbq.process_docs(Dataset.from_list(ages)))
    value("bbq", "utils.doc_to_choice", ready[:4])
    value("bbq", "utils.doc_to_target", ready[:8])
    value("bbq", "utils.doc_to_targets", ready[:8])
    scored = []
    for i, row in enumerate(ready):
        lls = [-1.0 - ((7 * i + 5 * k) % 12) / 3 for k in range(12)]
        scored.append(results("bbq", "utils.process_results_multiple_choice", row, [[ll, False] for ll in lls]))
    for row, said in zip(ready, ("the grandfather", "grandson.", "Not known", "I don't know!", "old", "a nonOld one", "Apple", "")):
        results("bbq", "utils.process_results_generate_until", row, [said])
    for name in ("agg_accuracy_amb", "agg_accuracy_disamb", "agg_amb_bias_scores", "agg_disamb_bias_scores"):
        metric = {"agg_accuracy_amb": "accuracy_amb", "agg_accuracy_disamb": "accuracy_disamb",
                  "agg_amb_bias_scores": "amb_bias_score", "agg_disamb_bias_scores": "disamb_bias_score"}[name]
        for chosen in (scored, scored[:1], scored[1:2], scored[:4]):
            values = [s[metric] for s in chosen]
            answer = getattr(bbq, name)(values) if len(values) else None
            case("bbq", f"utils.{name}", "aggregation", plain(values), answer)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=pathlib.Path, required=True)
    args = parser.parse_args()
    shared = args.shared.resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder) / "tasks"
        shutil.copytree(FIXTURES / "tasks", work)
        documents(shared, work / "data")
        installed = pathlib.Path(lm_eval.__file__).parent / "tasks"
        for name in ("crows_pairs", "bbq"):
            shutil.copy(installed / name / "utils.py", work / name / "utils.py")
            # lm-eval looks for data from where it runs, we from where the task file stands.
            for path in (work / name).glob("*.yaml"):
                path.write_text(path.read_text(encoding="utf-8").replace("../data/", "data/"), encoding="utf-8")
        os.chdir(work)
        tasks, groups, keys, top, chats = run(shared, work)
    golden = {
        "lm_eval": lm_eval.__version__,
        "iterations": ITERATIONS,
        "tasks": tasks,
        "groups": groups,
        "keys": keys,
        "top": top,
        "chat": chats,
    }
    for name, content in (("task_files", golden), ("functions", functions(shared)), ("filters", filters())):
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (FIXTURES / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
