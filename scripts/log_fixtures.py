"""Makes tests/fixtures/logs: what lm-evaluation-harness and inspect_ai themselves write, small.

Run from the project's root: python scripts/log_fixtures.py MODEL   (MODEL: the folder of stories260K)
Needs lm_eval 0.4.13 with torch and transformers, and inspect_ai 0.3.285; the tests need none of them.

lm-eval (lm-eval/A, lm-eval/B, lm-eval/few-shot): three local tasks (choices, generation under two filters, rolling
likelihoods) on MODEL, on MODEL with noise added to its weights, and on MODEL with one example before each question.
inspect (inspect/a.json, b.json, sampled.json): two answerers of one task with several scorers, and one of two epochs.
"""
import json, pathlib, random, re, shutil, sys, tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "logs"

SUBJECTS = [
    ("Lily", "a red ball", "garden"), ("Tom", "a big dog", "park"), ("Mia", "a small cat", "house"),
    ("Ben", "a blue car", "street"), ("Sue", "a new book", "school"), ("Max", "a nice hat", "shop"),
    ("Amy", "a warm cake", "kitchen"), ("Sam", "a long stick", "forest"), ("Zoe", "a soft toy", "room"),
    ("Tim", "a fast boat", "lake"), ("Ann", "a sweet apple", "farm"), ("Jack", "a old box", "barn"),
]


def documents():
    """Two framings of each of twelve stories: `question_index` is the story."""
    choices = []
    for index, (name, thing, place) in enumerate(SUBJECTS):
        for framing, text in enumerate([
            f"Once upon a time, {name} had {thing}. {name} went to the {place} with",
            f"One day, {name} found {thing} in the {place}. {name} was happy and played with",
        ]):
            gold = (index + framing) % 2
            wrong = SUBJECTS[(index + 5) % len(SUBJECTS)][1]
            options = [thing, wrong] if gold == 0 else [wrong, thing]
            choices.append({"question_index": index, "framing": framing, "context": text, "options": options, "gold": gold})
    names = [
        {"question_index": index, "context": f"Once upon a time, there was a child named {name}. {name} saw {thing}. The child was",
         "answer": "happy" if index % 2 else "very"}
        for index, (name, thing, _) in enumerate(SUBJECTS)
    ]
    texts = [
        {"question_index": index, "text": f"{name} had {thing}. {name} liked to play in the {place}."}
        for index, (name, thing, place) in enumerate(SUBJECTS)
    ]
    return {"story_choices": choices, "story_words": names, "story_texts": texts}


def task_files(folder):
    for task, docs in documents().items():
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    head = lambda task: f"""task: {task}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/{task}.jsonl}}}}
test_split: test
metadata: {{version: 1.0}}
"""
    mean = lambda name: f"  - {{metric: {name}, aggregation: mean, higher_is_better: true}}\n"
    (folder / "story_choices.yaml").write_text(
        head("story_choices")
        + "output_type: multiple_choice\nfewshot_split: test\ndoc_to_text: context\ndoc_to_choice: options\ndoc_to_target: gold\n"
        + "metric_list:\n" + mean("acc") + mean("acc_norm")
        + "  - {metric: brier_score, aggregation: brier_score, higher_is_better: false}\n"
        + "  - {metric: f1}\n"
    )
    (folder / "story_words.yaml").write_text(
        head("story_words")
        + "output_type: generate_until\ndoc_to_text: context\ndoc_to_target: answer\n"
        + "generation_kwargs: {until: ['.'], max_gen_toks: 12, do_sample: false}\n"
        + "metric_list:\n  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}\n"
        + "filter_list:\n"
        + "  - {name: first-word, filter: [{function: regex, regex_pattern: '(\\w+)'}, {function: take_first}]}\n"
        + "  - {name: whole, filter: [{function: take_first}]}\n"
    )
    (folder / "story_texts.yaml").write_text(
        head("story_texts")
        + "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: text\n"
        + "metric_list:\n  - {metric: word_perplexity}\n  - {metric: byte_perplexity}\n  - {metric: bits_per_byte}\n"
    )


def noisy(model, folder):
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    generator = torch.Generator().manual_seed(3)
    tensors = load_file(folder / "model.safetensors")
    for tensor in tensors.values():
        tensor += 0.25 * tensor.std() * torch.randn(tensor.shape, generator=generator)
    save_file(tensors, folder / "model.safetensors")


def harness(model):
    import lm_eval
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    shutil.rmtree(ROOT / "lm-eval", ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        task_files(scratch)
        noisy(model, scratch / "noisy")
        runs = [("A", model, 0, list(documents())), ("B", scratch / "noisy", 0, list(documents())), ("few-shot", model, 1, ["story_choices"])]
        for name, weights, shots, tasks in runs:
            tracker = EvaluationTracker(output_path=str(scratch / name))
            results = lm_eval.simple_evaluate(
                model="hf", model_args=f"pretrained={weights},dtype=float32", tasks=tasks, num_fewshot=shots or None, device="cpu",
                batch_size=4, log_samples=True, bootstrap_iters=1000, evaluation_tracker=tracker,
                task_manager=TaskManager(include_path=str(scratch)),
            )
            samples = results.pop("samples")
            tracker.save_results_aggregated(results=results, samples=samples)
            for task in tasks:
                tracker.save_results_samples(task_name=task, samples=samples[task])
            keep(scratch / name, ROOT / "lm-eval" / name, str(scratch))


def keep(source, target, scratch):
    """The files without their time stamps in names, and without what a clock or a machine put into them."""
    target.mkdir(parents=True)
    for path in sorted(source.rglob("*.json*")):
        stem = re.sub(r"_\d{4}-\d\d-\d\dT[\d.:-]+(?=\.jsonl?$)", "", path.name)
        text = path.read_text().replace(scratch, "/scratch")
        if path.suffix == ".json":
            tree = json.loads(text)
            for key in ["pretty_env_info", "date", "start_time", "end_time", "total_evaluation_time_seconds", "git_hash", "transformers_version"]:
                tree.pop(key, None)
            text = json.dumps(tree, indent=2, ensure_ascii=False) + "\n"
        (target / stem).write_text(text)


def inspect():
    from inspect_ai import Task, eval as run
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import CORRECT, INCORRECT, Score, accuracy, match, mean, scorer, stderr
    from inspect_ai.solver import generate

    @scorer(metrics=[mean(), stderr(cluster="family")])
    def length():
        async def score(state, target):
            return Score(value=float(len(state.output.completion)), explanation="characters of the answer")
        return score

    @scorer(metrics={"short": [mean()], "polite": [mean()]})
    def manners():
        async def score(state, target):
            text = state.output.completion
            return Score(value={"short": 1 if len(text) < 6 else 0, "polite": CORRECT if "please" in text else INCORRECT})
        return score

    def task(epochs):
        dataset = MemoryDataset([
            Sample(id=f"{name}-{role}", input=f"{name} {verb} {thing}. Is {name} glad?", target="yes" if index % 2 else "no",
                   metadata={"family": f"story {index}", "role": role, "place": place})
            for index, (name, thing, place) in enumerate(SUBJECTS) for role, verb in [("factual", "found"), ("counterfactual", "lost")]
        ], name="stories")
        return Task(dataset=dataset, solver=generate(), scorer=[match(), length(), manners()], name="stories", epochs=epochs)

    shutil.rmtree(ROOT / "inspect", ignore_errors=True)
    (ROOT / "inspect").mkdir(parents=True)
    for name, seed, epochs in [("a", 1, 1), ("b", 2, 1), ("sampled", 3, 2)]:
        draw = random.Random(seed)
        answers = [draw.choice(["yes", "no", "yes please", "no thank you"] if seed == 1 else ["yes", "yes", "yes please", "no"]) for _ in range(24 * epochs)]
        outputs = [ModelOutput.from_content("mockllm/model", answer) for answer in answers]
        for output in outputs:
            output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # else it asks the network for a tokenizer
        model = get_model("mockllm/model", custom_outputs=outputs, memoize=False)
        with tempfile.TemporaryDirectory() as logs:
            log = run(task(epochs), model=model, log_dir=logs, log_format="json", display="none", max_samples=1, max_connections=1)[0]
            assert log.status == "success", log.error
            tree = json.loads(pathlib.Path(log.location).read_text())
        (ROOT / "inspect" / f"{name}.json").write_text(json.dumps(slim(tree), indent=1, ensure_ascii=False) + "\n")


def slim(tree):
    """Without what the reader does not read and would make the file large: events, attachments, conversations' ids."""
    for sample in tree["samples"]:
        for key in ["events", "attachments", "model_usage", "role_usage", "timelines", "uuid", "messages", "store", "events_data"]:
            sample.pop(key, None)
    tree.pop("reductions", None)
    tree["eval"].pop("revision", None)
    tree["eval"]["model_args"] = {}
    return tree


if __name__ == "__main__":
    which = sys.argv[2:] or ["lm-eval", "inspect"]
    if "lm-eval" in which:
        harness(pathlib.Path(sys.argv[1]).resolve())
    if "inspect" in which:
        inspect()
