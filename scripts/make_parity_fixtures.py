"""Writes the parity fixtures of tests/fixtures/parity from the reference implementations in `transformers`.

    pip install torch transformers
    python scripts/make_parity_fixtures.py [--only NAME,NAME]

Each folder holds a tiny random model and what the reference computes with it: `config.json` as this version of
transformers saves it, `config_legacy.json` in the flat form of 4.x, `model.safetensors` (values that bfloat16 holds
exactly, so that the files stay small), `golden.json`. Everything is seeded by name; attention is the eager
implementation, single precision, on the CPU.
"""

import argparse
import copy
import json
import shutil
import zlib
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "parity"
EAGER = dict(attn_implementation="eager", experts_implementation="eager")
VOCAB, ROWS, TOKENS, NEW, LONG = 48, 2, 6, 6, 40

SIZES = dict(vocab_size=VOCAB, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=64,
             bos_token_id=1, eos_token_id=2, torch_dtype="float32")
LLAMA = dict(SIZES, model_type="llama", intermediate_size=32, num_key_value_heads=1, hidden_act="silu",
             rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=False)
FALCON = dict(SIZES, model_type="falcon", alibi=False, rope_theta=10000.0, layer_norm_epsilon=1e-5,
              ffn_hidden_size=32, activation="gelu", tie_word_embeddings=True)
STABLELM = dict(SIZES, model_type="stablelm", intermediate_size=32, num_key_value_heads=1, hidden_act="silu",
                layer_norm_eps=1e-5, rope_theta=10000.0, partial_rotary_factor=0.5, tie_word_embeddings=False)
COHERE = dict(SIZES, model_type="cohere", intermediate_size=32, num_key_value_heads=1, hidden_act="silu",
              layer_norm_eps=1e-5, rope_theta=8000.0, logit_scale=0.25, pad_token_id=0, tie_word_embeddings=True)
MIXTURE = dict(LLAMA, num_experts_per_tok=2, output_router_logits=False)

CASES = {
    # Rotary scalings.
    "llama_linear": dict(LLAMA, rope_scaling=dict(rope_type="linear", factor=4.0)),
    "llama_dynamic": dict(LLAMA, max_position_embeddings=24, rope_scaling=dict(rope_type="dynamic", factor=2.0)),
    "llama_yarn": dict(LLAMA, rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16)),
    "llama_yarn_mscale": dict(LLAMA, rope_scaling=dict(
        rope_type="yarn", factor=8.0, beta_fast=4.0, beta_slow=2.0, mscale=0.8, mscale_all_dim=0.4, truncate=False,
        original_max_position_embeddings=32)),
    # Families.
    "gemma": dict(LLAMA, model_type="gemma", hidden_act="gelu_pytorch_tanh", head_dim=8, rms_norm_eps=1e-6,
                  pad_token_id=0, tie_word_embeddings=True),
    "granite": dict(LLAMA, model_type="granite", embedding_multiplier=3.0, attention_multiplier=0.2,
                    residual_multiplier=0.6, logits_scaling=1.5, attention_bias=True, tie_word_embeddings=True),
    "stablelm": dict(STABLELM, use_qkv_bias=True, use_parallel_residual=False),
    "stablelm_parallel": dict(STABLELM, use_qkv_bias=False, use_parallel_residual=True),
    "phi_qk_norm": dict(SIZES, model_type="phi", intermediate_size=32, num_key_value_heads=1, hidden_act="gelu_new",
                        layer_norm_eps=1e-5, rope_theta=10000.0, partial_rotary_factor=0.5, qk_layernorm=True,
                        tie_word_embeddings=False),
    "gptj": dict(model_type="gptj", vocab_size=VOCAB, n_embd=24, n_layer=2, n_head=3, n_positions=64, n_inner=32,
                 rotary_dim=4, activation_function="gelu_new", layer_norm_epsilon=1e-5, bos_token_id=1,
                 eos_token_id=2, tie_word_embeddings=False, torch_dtype="float32"),
    "opt": dict(SIZES, model_type="opt", ffn_dim=32, word_embed_proj_dim=24, do_layer_norm_before=True,
                activation_function="relu", pad_token_id=1, dropout=0.0, tie_word_embeddings=True),
    "falcon": dict(FALCON, multi_query=True, parallel_attn=True, new_decoder_architecture=False, bias=False),
    "falcon_grouped": dict(FALCON, hidden_size=32, num_attention_heads=4, num_kv_heads=2, parallel_attn=True,
                           new_decoder_architecture=True, bias=False, multi_query=True),
    "falcon_sequential": dict(FALCON, multi_query=False, parallel_attn=False, new_decoder_architecture=False,
                              bias=True),
    "starcoder2": dict(SIZES, model_type="starcoder2", intermediate_size=32, num_key_value_heads=1,
                       hidden_act="gelu_pytorch_tanh", norm_epsilon=1e-5, rope_theta=10000.0, sliding_window=4,
                       use_bias=True, tie_word_embeddings=True),
    "cohere": dict(COHERE, use_qk_norm=False),
    "cohere_qk_norm": dict(COHERE, use_qk_norm=True),
    # Mixtures of experts.
    "mixtral": dict(MIXTURE, model_type="mixtral", num_local_experts=3, intermediate_size=16, sliding_window=None),
    "qwen3_moe": dict(MIXTURE, model_type="qwen3_moe", num_experts=4, moe_intermediate_size=16, head_dim=8,
                      mlp_only_layers=[0], decoder_sparse_step=1, norm_topk_prob=True, use_sliding_window=False,
                      sliding_window=None, attention_bias=False),
    "olmoe": dict(MIXTURE, model_type="olmoe", num_experts=4, intermediate_size=16, norm_topk_prob=False,
                  clip_qkv=None, pad_token_id=0, attention_bias=False),
}


def stream(*names):
    """A generator of its own for each name."""
    return torch.Generator().manual_seed(zlib.crc32("/".join(names).encode()))


def numbers(value):
    """Lists of numbers with eight significant digits, one more than single precision has."""
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value


def fill(model, case):
    """Weights under which every part of the model moves the logits, rounded to what bfloat16 holds."""
    gemma = case.startswith("gemma")
    for name, weight in model.named_parameters():
        draw = torch.randn(weight.shape, generator=stream(case, name))
        norm = "norm" in name or "ln_" in name
        if name.endswith("bias"):
            draw *= 0.2
        elif norm:
            draw = 0.2 * draw + (0.0 if gemma else 1.0)
        elif "embed_positions" in name:
            draw *= 0.3
        elif any(part in name for part in ("embed_tokens", "wte", "word_embeddings")):
            draw *= 0.3 if gemma else 0.7
        else:
            sharp = any(part in name for part in ("q_proj", "k_proj", "query_key_value", "gate.weight"))
            draw *= (1.7 if sharp else 1.2) / weight.shape[-1] ** 0.5
        weight.data.copy_(draw.to(torch.bfloat16).float())
    model.tie_weights()


def attribute(module, *names):
    return next(getattr(module, name) for name in names if hasattr(module, name))


class Parts:
    """Blocks, attention, its output projection and the MLP's last module, whatever they are called."""

    def __init__(self, model):
        core = attribute(model, "model", "transformer")
        core = getattr(core, "decoder", core)
        self.blocks = list(attribute(core, "layers", "h"))
        self.attention = [attribute(block, "self_attn", "attn", "self_attention") for block in self.blocks]
        self.out = [attribute(attention, "o_proj", "out_proj", "dense") for attention in self.attention]
        self.mlp = [attribute(block, "mlp", "fc2") for block in self.blocks]
        self.scale = getattr(model.config, "residual_multiplier", None)


def first(value):
    return value[0] if isinstance(value, (tuple, list)) else value


def block_input(args, kwargs):
    return args[0] if args else kwargs["hidden_states"]


@torch.no_grad()
def logits_of(model, ids):
    return model(input_ids=ids, use_cache=False).logits


def traced(model, ids):
    """Every activation that is compared, and the logits."""
    parts, kept, hooks = Parts(model), {}, []
    shape = (*ids.shape, -1)

    def keep(key):
        # A copy: some blocks add to these tensors in place.
        return lambda value: kept.setdefault(key, []).append(value.detach().clone().reshape(shape))

    for block, attention, out, mlp in zip(parts.blocks, parts.attention, parts.out, parts.mlp):
        before, after, z, attn, post = map(keep, ("before", "resid_post", "z", "attn_out", "mlp_out"))
        hooks += [
            block.register_forward_pre_hook(lambda _, a, k, f=before: f(block_input(a, k)), with_kwargs=True),
            block.register_forward_hook(lambda _, a, o, f=after: f(first(o))),
            out.register_forward_pre_hook(lambda _, a, f=z: f(a[0])),
            attention.register_forward_hook(lambda _, a, o, f=attn: f(first(o))),
            mlp.register_forward_hook(lambda _, a, o, f=post: f(first(o))),
        ]
        if hasattr(mlp, "experts"):
            router = keep("expert_weights")
            hooks.append(mlp.gate.register_forward_hook(lambda _, a, o, f=router: f(o[0].softmax(-1))))
    logits = logits_of(model, ids)
    for hook in hooks:
        hook.remove()
    arrays = {key: torch.stack(values) for key, values in kept.items()}
    before = arrays.pop("before")
    if parts.scale is not None:
        arrays["attn_add"], arrays["mlp_add"] = parts.scale * arrays["attn_out"], parts.scale * arrays["mlp_out"]
    added = sum(arrays.get(f"{part}_add", arrays[f"{part}_out"]) for part in ("attn", "mlp"))
    assert (before + added - arrays["resid_post"]).abs().max() < 1e-4, "the parts do not add up to the stream"
    return dict(embed=before[0], **arrays, logits=logits)


def continued(model, ids):
    """Greedy continuation and the smallest lead of its tokens; with and without the cache the same."""
    lead = float("inf")
    for _ in range(NEW):
        top = logits_of(model, ids)[:, -1].topk(2).values
        lead = min(lead, (top[:, 0] - top[:, 1]).min().item())
        ids = torch.cat([ids, logits_of(model, ids)[:, -1:].argmax(-1)], 1)
    cached = model.generate(ids[:, :TOKENS], attention_mask=torch.ones(ROWS, TOKENS, dtype=torch.long),
                            max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, pad_token_id=0,
                            eos_token_id=None)
    assert torch.equal(cached, ids), "cached generation differs"
    assert lead > 1e-3, f"a token leads by {lead} alone: take another seed"
    return ids[:, TOKENS:], lead


def patched(model, ids, a, b, heads):
    """Row 1's activations put into row 0: the stream at one position, and z of one head at all positions."""
    parts = Parts(model)

    def metric(row, hooks=()):
        logits = logits_of(model, ids[row:row + 1])[0, -1]
        for hook in hooks:
            hook.remove()
        return (logits[a] - logits[b]).item()

    kept = {}
    hooks = []
    for layer, (block, out) in enumerate(zip(parts.blocks, parts.out)):
        hooks += [
            block.register_forward_pre_hook(
                lambda _, a, k, l=layer: kept.__setitem__((l, "x"), block_input(a, k).clone()), with_kwargs=True),
            out.register_forward_pre_hook(lambda _, a, l=layer: kept.__setitem__((l, "z"), a[0].clone())),
        ]
    source = metric(1, hooks)

    def stream_hook(layer, position):
        def change(_, args, kwargs):
            x = block_input(args, kwargs).clone()
            x[:, position] = kept[layer, "x"][:, position]
            return ((x, *args[1:]), kwargs) if args else (args, dict(kwargs, hidden_states=x))
        return parts.blocks[layer].register_forward_pre_hook(change, with_kwargs=True)

    def head_hook(layer, head):
        def change(_, args):
            z = args[0].clone()
            width = z.shape[-1] // heads
            part = slice(head * width, (head + 1) * width)
            z[..., part] = kept[layer, "z"][..., part]
            return (z, *args[1:])
        return parts.out[layer].register_forward_pre_hook(change)

    layers = range(len(parts.blocks))
    return dict(
        source_row=1, destination_row=0, token_a=a, token_b=b, metric_source=source, metric_destination=metric(0),
        resid_pre_layer_pos=[[metric(0, [stream_hook(l, p)]) for p in range(TOKENS)] for l in layers],
        z_layer_head=[[metric(0, [head_hook(l, h)]) for h in range(heads)] for l in layers])


def stored_gradients(model, model_type):
    """Gradient norms under the names of the checkpoint, where each expert has matrices of its own."""
    norms = {}
    mixtral = model_type == "mixtral"
    for name, weight in model.named_parameters():
        if mixtral:
            name = name.replace(".mlp.", ".block_sparse_moe.")
        path, _, last = name.rpartition(".")
        if last == "gate_up_proj":
            for expert, grad in enumerate(weight.grad):
                for part, half in zip(("w1", "w3") if mixtral else ("gate_proj", "up_proj"), grad.chunk(2)):
                    norms[f"{path}.{expert}.{part}.weight"] = half.norm().item()
        elif last == "down_proj":
            for expert, grad in enumerate(weight.grad):
                norms[f"{path}.{expert}.{'w2' if mixtral else 'down_proj'}.weight"] = grad.norm().item()
        elif weight.grad is not None:
            norms[name] = weight.grad.norm().item()
    return norms


def reference(folder_or_config, dtype):
    if isinstance(folder_or_config, Path):
        model = AutoModelForCausalLM.from_pretrained(folder_or_config, **EAGER, dtype=dtype)
    else:
        model = AutoModelForCausalLM.from_config(folder_or_config, **EAGER).to(dtype)
    return model.eval()


def configured(legacy):
    # A copy: reading a config adds to the dictionaries inside it.
    return AutoConfig.for_model(**copy.deepcopy(legacy))


def write(case, legacy):
    folder = ROOT / case
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = reference(configured(legacy), torch.float32)
    fill(model, case)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    legacy = dict(legacy, architectures=[type(model).__name__])
    (folder / "config_legacy.json").write_text(json.dumps(legacy, indent=1) + "\n")

    # What a reader of the files sees is what is compared.
    model = reference(folder, torch.float32)
    draw = stream("ids", case)
    ids = torch.randint(3, VOCAB, (ROWS, TOKENS), generator=draw)
    ids[1, 0] = ids[0, 0]
    long = torch.randint(3, VOCAB, (1, LONG), generator=draw)
    arrays = traced(model, ids)
    for dtype in (torch.float32, torch.float64):
        other = reference(configured(legacy), dtype)
        other.load_state_dict(model.state_dict())
        found = traced(other, ids)
        if dtype == torch.float32:
            assert torch.equal(found["logits"], arrays["logits"]), "the flat config means another model"
    noise = {key: (arrays[key].double() - found[key].double()).abs().max().item() for key in arrays}

    new, lead = continued(model, ids)
    loss = model(input_ids=ids, labels=ids, use_cache=False).loss
    loss.backward()
    heads = model.config.num_attention_heads
    apart = arrays["logits"][0, -1] - arrays["logits"][1, -1]
    patch = patched(model, ids, int(apart.argmax()), int(apart.argmin()), heads)
    golden = dict(
        arch=case, model_type=legacy["model_type"], transformers=transformers.__version__, torch=torch.__version__,
        input_ids=ids.tolist(), f32_vs_f64_max_abs={key: float(f"{value:.3g}") for key, value in noise.items()},
        **{key: numbers(value) for key, value in arrays.items()},
        loss=numbers(loss.item()),
        grad_norm={name: numbers(norm) for name, norm in stored_gradients(model, legacy["model_type"]).items()},
        generate=dict(new_tokens=new.tolist(), min_top2_margin=numbers(lead)),
        long=dict(input_ids=long[0].tolist(), last_logits=numbers(logits_of(model, long)[0, -1])),
        patch={key: numbers(value) for key, value in patch.items()})
    (folder / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{case:20s} {size / 1000:6.0f} kB   noise {noise['logits']:.1e}   lead {lead:.3f}   loss {loss.item():.3f}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", default="", help="names of cases, separated by commas")
    only = arguments.parse_args().only
    torch.set_num_threads(1)
    for case in only.split(",") if only else CASES:
        write(case, CASES[case])


if __name__ == "__main__":
    main()
