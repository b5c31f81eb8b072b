"""Makes tests/fixtures/{pytorch,tokenizers,chat}: what the real torch, sentencepiece and transformers do.

Run from the project's root: python scripts/loading_fixtures.py
Needs torch, safetensors, sentencepiece, tokenizers and transformers from PyPI; the tests need none of them.
"""
import io, json, pathlib, random, re, datetime

import sentencepiece as spm
import torch
from safetensors.torch import save_file
from transformers.utils import chat_template_utils

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures"


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


# ---------------------------------------------------------------- PyTorch
def pytorch():
    folder = ROOT / "pytorch"
    torch.manual_seed(5)
    d, heads, kv, mlp, vocab = 8, 2, 1, 12, 16
    config = {
        "model_type": "llama", "hidden_size": d, "num_hidden_layers": 1, "num_attention_heads": heads,
        "num_key_value_heads": kv, "intermediate_size": mlp, "vocab_size": vocab, "max_position_embeddings": 16,
        "rms_norm_eps": 1e-5, "hidden_act": "silu", "rope_theta": 10000.0, "tie_word_embeddings": True,
    }
    write_json(folder / "config.json", config)
    shapes = {
        "model.embed_tokens.weight": (vocab, d), "model.norm.weight": (d,),
        "model.layers.0.self_attn.q_proj.weight": (d, d), "model.layers.0.self_attn.k_proj.weight": (d // 2, d),
        "model.layers.0.self_attn.v_proj.weight": (d // 2, d), "model.layers.0.self_attn.o_proj.weight": (d, d),
        "model.layers.0.mlp.gate_proj.weight": (mlp, d), "model.layers.0.mlp.up_proj.weight": (mlp, d),
        "model.layers.0.mlp.down_proj.weight": (d, mlp), "model.layers.0.input_layernorm.weight": (d,),
        "model.layers.0.post_attention_layernorm.weight": (d,),
    }
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    # Every type, a parameter, a transposed view, a view into a larger storage, and a head that shares its storage.
    half = "model.layers.0.self_attn.v_proj.weight"
    brain = "model.layers.0.mlp.up_proj.weight"
    double = "model.layers.0.mlp.down_proj.weight"
    tensors[half] = tensors[half].half()
    tensors[brain] = tensors[brain].bfloat16()
    tensors[double] = tensors[double].double()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    state = dict(tensors)
    gate, up = "model.layers.0.mlp.gate_proj.weight", "model.layers.0.self_attn.q_proj.weight"
    state[gate] = tensors[gate].t().contiguous().t()
    wide = torch.cat([torch.zeros(1, d), tensors[up], torch.zeros(2, d)])
    state[up] = wide[1 : d + 1]
    state["model.norm.weight"] = torch.nn.Parameter(tensors["model.norm.weight"])
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    ordered = torch.nn.Module().state_dict()
    ordered.update(state)
    torch.save(ordered, folder / "pytorch_model.bin")
    torch.save(state, folder / "legacy.bin", _use_new_zipfile_serialization=False)
    names = sorted(state)
    parts = {"pytorch_model-00001-of-00002.bin": names[:5], "pytorch_model-00002-of-00002.bin": names[5:]}
    for file, part in parts.items():
        torch.save({name: state[name].clone() for name in part}, folder / file)
    where = {name: file for file, part in parts.items() for name in part}
    write_json(folder / "pytorch_model.bin.index.json", {"metadata": {"total_size": 0}, "weight_map": where})


# ---------------------------------------------------------------- tokenizers
def corpus():
    """Sentences from a small grammar, so that nothing is copied from anywhere."""
    draw = random.Random(3)
    who = ["the old sailor", "a young teacher", "my neighbour Anna", "the café owner", "Doctor Müller", "its captain"]
    does = ["walks to", "remembers", "paints", "measures", "never leaves", "writes about", "has forgotten"]
    what = ["the harbour", "a yellow house", "three small boats", "the naïve question", "his 42 letters", "winter 1987"]
    tails = ["", " again", " -- and again", ", it's said", "; they'll see", " (of course!)", "\tat 7:30"]
    syllables = ["ba", "ro", "ten", "mi", "lu", "sha", "kor", "ne", "ve", "ing", "er", "al", "un", "pre", "tion"]
    made = lambda: "".join(draw.choice(syllables) for _ in range(draw.randint(2, 4)))
    lines = [" ".join(made() for _ in range(8)) + "." for _ in range(700)]
    lines += [f"{draw.choice(who).capitalize()} {draw.choice(does)} {draw.choice(what)}{draw.choice(tails)}." for _ in range(1500)]
    return lines


TEXTS = [
    "Hello", "The old sailor walks to the harbour.", " leading and trailing ", "two  spaces   three", "",
    "Doctor Müller's café, 42 letters; naïve?", "line one\nline two\n\n\tindented", "日本語のテキスト 🙂👩‍👩‍👧 x",
    "ﬁne ½ Ａ é", "they'll see: it's 1987 -- (of course!)", "don't DON'T I'LL 12345 3.14", "a" * 40, "é", " ", "   ",
    "▁ mark ▁", "zero\u200bwidth and nb\u00a0space", "\u0e01\u0e33 \u0938\u094d\u0924\u0947 \ud55c\uad6d",
]


def sentencepieces():
    folder = ROOT / "tokenizers"
    lines = corpus()
    # A normaliser of a few rules, since the table of nmt_nfkc takes 240 kB (docs/log.md says how that one fares).
    rules = folder / "rules.tsv"
    rules.write_text("FB01\t66 69\nBD\t31 2044 32\nFF21\t41\n65 301\tE9\n9\t20\nA\t20\n200B\t20\n")
    common = dict(sentence_iterator=None, num_threads=1, minloglevel=2, max_sentence_length=9999, hard_vocab_limit=False)
    kinds = {
        "bpe_llama": dict(model_type="bpe", vocab_size=420, byte_fallback=True, normalization_rule_name="identity",
                          remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True),
        "bpe_gemma": dict(model_type="bpe", vocab_size=420, byte_fallback=True, normalization_rule_name="identity",
                          remove_extra_whitespaces=False, add_dummy_prefix=False, split_digits=True,
                          user_defined_symbols=["<start_of_turn>", "<end_of_turn>", "\n\n", "▁▁▁"], pad_id=3),
        "unigram_rules": dict(model_type="unigram", vocab_size=260, normalization_rule_tsv=str(rules), character_coverage=0.99),
        "unigram_bytes": dict(model_type="unigram", vocab_size=460, byte_fallback=True,
                              normalization_rule_name="identity", remove_extra_whitespaces=False),
    }
    for name, options in kinds.items():
        buffer = io.BytesIO()
        spm.SentencePieceTrainer.train(**{**common, **options, "sentence_iterator": iter(lines), "model_writer": buffer})
        target = folder / name
        target.mkdir(exist_ok=True)
        (target / "tokenizer.model").write_bytes(buffer.getvalue())
        processor = spm.SentencePieceProcessor(model_proto=buffer.getvalue())
        cases = [{"text": text, "ids": processor.encode(text), "decoded": processor.decode(processor.encode(text))} for text in TEXTS]
        write_json(target / "golden.json", {"bos": processor.bos_id(), "eos": processor.eos_id(), "cases": cases})
        print(name, processor.vocab_size(), len(buffer.getvalue()))
    rules.unlink()


def byte_level():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import AutoTokenizer

    for name, cls in [("gpt2", "GPT2Tokenizer"), ("qwen2", "Qwen2Tokenizer")]:
        folder = ROOT / "tokenizers" / name
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        trained = Tokenizer(models.BPE())
        trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"])
        trained.train_from_iterator(corpus(), trainer)
        trained.model.save(str(folder))
        settings = {"tokenizer_class": cls}
        if name == "qwen2":
            decoder = {}
            for id, text, special in [(420, "<|im_start|>", True), (421, "<|im_end|>", True), (422, "<tool_call>", False)]:
                decoder[str(id)] = {"content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": special}
            decoder["0"] = {"content": "<|endoftext|>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
            settings.update(added_tokens_decoder=decoder, eos_token="<|im_end|>", pad_token="<|endoftext|>", bos_token=None, unk_token=None)
        write_json(folder / "tokenizer_config.json", settings)
        real = AutoTokenizer.from_pretrained(folder)
        texts = TEXTS + ["<|endoftext|>text", "a<|im_start|>user\nhi<|im_end|>\n<tool_call>{}"]
        cases = [{"text": t, "ids": real(t)["input_ids"], "decoded": real.decode(real(t)["input_ids"], skip_special_tokens=True, clean_up_tokenization_spaces=False)} for t in texts]
        write_json(folder / "golden.json", {"bos": real.bos_token_id, "eos": real.eos_token_id, "cases": cases})
        print(name, type(real).__name__, len(real))


# ---------------------------------------------------------------- chat
def chat():
    folder = ROOT / "chat"
    user = lambda text: {"role": "user", "content": text}
    said = lambda text: {"role": "assistant", "content": text}
    system = {"role": "system", "content": "  Be brief, é < & \"quoted\".\n"}
    talk = [user("Hi 'there'! "), said(" Hello.\n"), user("Why?\n\nBecause.")]
    tool = {"type": "function", "function": {"name": "weather", "description": "Today's weather – \"now\"", "parameters": {
        "type": "object", "properties": {"city": {"type": "string", "enum": ["Zürich", "Rome"]}, "days": {"type": "integer", "minimum": 1}},
        "required": ["city"], "nullable": None, "strict": True, "limit": 0.5, "tiny": 1e-7}}}
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "a1b2c3d4e", "type": "function", "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 2}}}]}
    answer = {"role": "tool", "name": "weather", "tool_call_id": "a1b2c3d4e", "content": "{\"sun\": true}"}
    conversations = {
        "one": [user("Hello")], "talk": talk, "system": [system, *talk], "ends": [user("Hello"), said("Bye")],
        "tools": [user("Weather?"), call, answer, user("Thanks")], "wrong": [said("first"), user("x"), user("y")],
        "empty": [],
    }
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    now = datetime.datetime(2024, 7, 5, 13, 4, 9)
    cases = []
    for path in sorted(folder.glob("*.jinja")):
        template = path.read_text()
        compiled = chat_template_utils._compile_jinja_template(template)
        compiled.environment.globals["strftime_now"] = now.strftime
        for name, messages in conversations.items():
            for generate in [True, False]:
                for tools in [None, [tool]] if name in ("talk", "tools") else [None]:
                    extra = {"enable_thinking": False} if name == "talk" else {}
                    case = {"template": path.name, "messages": messages, "tools": tools, "generate": generate, "extra": extra}
                    # As `apply_chat_template` compiles it: globals are bound when a template is made.
                    rendered = compiled.environment.from_string(template)
                    try:
                        case["text"] = rendered.render(messages=messages, tools=tools, documents=None, add_generation_prompt=generate, **tokens, **extra)
                    except Exception as error:
                        case["error"] = str(error)
                    cases.append(case)
    write_json(folder / "golden.json", {"tokens": tokens, "now": int(now.replace(tzinfo=datetime.timezone.utc).timestamp()), "cases": cases})
    print("chat", len(cases), sum("error" in c for c in cases), set(c.get("error") for c in cases))


if __name__ == "__main__":
    for folder in ["pytorch", "tokenizers", "chat"]:
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
    pytorch()
    sentencepieces()
    byte_level()
    chat()
