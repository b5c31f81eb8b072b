//! The weights that carry a wiring out.
//!
//! Heads route by position: at the position that a head writes to, its query finds the position that it reads from,
//! and everywhere else the first token, where every direction that it reads is 0. The scores differ by
//! [`SHARPNESS`] nats, so that attention is one-hot to far below single precision. With x the sum of what its heads
//! write, the gates of the MLPs are
//!
//! ```text
//! OR         relu(2x − ½) − relu(2x − 3⁄2)      0 at x = 0, 1 at x = 1 and x = 2, flat at all three
//! AND        relu(2x − 3)                       0 at x ≤ 1, 1 at x = 2, where its slope is 2
//! saturated  relu(4x − 1) − relu(4x − 2)        0 at x = 0, 1 at x = 1, flat at both
//! ```

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use serde_json::{Value, json};

use super::basis::{Basis, Direction, HEAD_WIDTH, Map, SPARE, TOKENS, WIDTH, orthonormal, unit};
use super::prompts::{ANSWERS, ATTRIBUTE, CONTRASTS, CORE, NEUTRAL, SURFACES, VOCABULARY};
use super::wiring::{HEADS, LAYERS, Path, Role, Wiring};
use crate::base::Seed;
use crate::base::seed::normal;

/// By how much the score of the position that a head reads exceeds all others, in nats.
const SHARPNESS: f64 = 40.0;
/// Inner width of the MLPs.
const NEURONS: usize = 16;
/// Neurons of each MLP that read and write spare directions.
const IDLE_NEURONS: usize = 6;

/// The config of every compiled model.
pub fn config() -> Value {
    json!({
        "model_type": "plain", "hidden_size": WIDTH, "intermediate_size": NEURONS, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "head_dim": HEAD_WIDTH, "vocab_size": VOCABULARY,
        "max_position_embeddings": TOKENS, "hidden_act": "relu", "tie_word_embeddings": false, "bos_token_id": 0,
    })
}

/// The tensors of a wiring, under the names of the family without norms. The seed draws the basis of stream and heads,
/// and what stands in the spare directions; no effect hangs on it.
pub fn tensors(wiring: &Wiring, seed: &Seed) -> Result<BTreeMap<String, Tensor>, candle_core::Error> {
    let basis = Basis::of_stream(&seed.fork("stream"));
    let mut tensors = BTreeMap::new();
    let mut add = |name: &str, shape: &[usize], values: Vec<f32>| -> Result<(), candle_core::Error> {
        tensors.insert(name.to_owned(), Tensor::from_vec(values, shape, &Device::Cpu)?);
        Ok(())
    };
    add("model.embed_tokens.weight", &[VOCABULARY, WIDTH], embedding(&basis, &seed.fork("embedding")))?;
    let positions = (0..TOKENS).flat_map(|position| basis.vector(Direction::Position(position)));
    add("model.embed_positions.weight", &[TOKENS, WIDTH], positions.map(|value| *value as f32).collect())?;
    for layer in 0..LAYERS {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        let [q, k, v, o] = attention(wiring, layer, &basis, &seed.fork(&format!("heads of block {layer}")));
        add(&name("self_attn.q_proj.weight"), &[HEADS * HEAD_WIDTH, WIDTH], q.single())?;
        add(&name("self_attn.k_proj.weight"), &[HEADS * HEAD_WIDTH, WIDTH], k.single())?;
        add(&name("self_attn.v_proj.weight"), &[HEADS * HEAD_WIDTH, WIDTH], v.single())?;
        add(&name("self_attn.o_proj.weight"), &[WIDTH, HEADS * HEAD_WIDTH], o.single())?;
        let [up, up_bias, down] = mlp(wiring, layer, &basis, &seed.fork(&format!("MLP of block {layer}")));
        add(&name("mlp.up_proj.weight"), &[NEURONS, WIDTH], up)?;
        add(&name("mlp.up_proj.bias"), &[NEURONS], up_bias)?;
        add(&name("mlp.down_proj.weight"), &[WIDTH, NEURONS], down)?;
        add(&name("mlp.down_proj.bias"), &[WIDTH], vec![0.0; WIDTH])?;
    }
    add("lm_head.weight", &[VOCABULARY, WIDTH], head(wiring, &basis))?;
    Ok(tensors)
}

fn noise(seed: &Seed, scale: f64) -> Vec<(Direction, f64)> {
    let mut rng = seed.rng();
    (0..SPARE).map(|spare| (Direction::Spare(spare), scale * normal(&mut rng))).collect()
}

/// `[v, d]`: what each token says, and noise in the spare directions.
fn embedding(basis: &Basis, seed: &Seed) -> Vec<f32> {
    let row = |token: u32| {
        let mut parts = noise(&seed.fork(&format!("{token}")), 0.5);
        let surfaces = SURFACES.len() as u32;
        if (ATTRIBUTE..NEUTRAL).contains(&token) {
            let (value, surface) = ((token - ATTRIBUTE) / surfaces, (token - ATTRIBUTE) % surfaces);
            parts.push((Direction::Attribute, f64::from(value)));
            let contrasts = SURFACES.get(surface as usize).copied().unwrap_or_default();
            parts.extend(contrasts.into_iter().enumerate().map(|(at, e)| (Direction::Surface(at), e)));
        } else if (CORE..ATTRIBUTE).contains(&token) {
            parts.push((Direction::Core, f64::from(token - CORE)));
        } else if (NEUTRAL..NEUTRAL + 2).contains(&token) {
            parts.push((Direction::Neutral, f64::from(token - NEUTRAL)));
        }
        basis.sum(&parts)
    };
    (0..VOCABULARY as u32).flat_map(row).map(|value| value as f32).collect()
}

/// What one head moves: from which position to which, and each direction that it reads with what it writes for it.
struct Movement {
    from: usize,
    to: usize,
    parts: Vec<(Direction, Vec<(Direction, f64)>)>,
}

fn movement(wiring: &Wiring, role: Role, seed: &Seed) -> Movement {
    let [core, attribute, neutral, filler] = wiring.slots;
    let (last, strengths) = (TOKENS - 1, &wiring.strengths);
    let hums = |read: fn(usize) -> Direction| {
        let hum = wiring.hum_of(role).into_iter().enumerate();
        hum.map(move |(at, hum)| (read(at), vec![(Direction::Out, hum)]))
    };
    let carry = |write: Direction, weight: f64| Movement {
        from: attribute,
        to: last,
        parts: vec![(Direction::Attribute, vec![(write, weight)])]
            .into_iter()
            .chain(hums(Direction::Surface))
            .collect(),
    };
    let scatter = |count: usize| (0..count).map(|at| (Direction::Spare(at), noise(&seed.fork(&at.to_string()), 0.3)));
    match role {
        Role::RelayWriter => Movement {
            from: attribute,
            to: wiring.relay,
            parts: [(Direction::Attribute, vec![(Direction::RelayAttribute, 1.0)])]
                .into_iter()
                .chain((0..CONTRASTS).map(|at| (Direction::Surface(at), vec![(Direction::RelaySurface(at), 1.0)])))
                .collect(),
        },
        Role::RelayReader => Movement {
            from: wiring.relay,
            to: last,
            parts: [(Direction::RelayAttribute, vec![(Direction::Out, strengths.relay)])]
                .into_iter()
                .chain(hums(Direction::RelaySurface))
                .collect(),
        },
        Role::BackupFirst | Role::BackupSecond => carry(Direction::Or, 1.0),
        Role::Gated => carry(Direction::And, 1.0),
        Role::Saturated => carry(Direction::Saturated, 1.0),
        Role::Plus => carry(Direction::Out, strengths.cancelling),
        Role::Minus => carry(Direction::Out, -strengths.cancelling),
        Role::Decoy => Movement {
            from: attribute,
            to: last,
            parts: [(Direction::Attribute, vec![(Direction::Disconnected, super::DECOY_GAIN)])]
                .into_iter()
                .chain(scatter(HEAD_WIDTH - 1))
                .collect(),
        },
        Role::Core => Movement {
            from: core,
            to: last,
            parts: vec![(Direction::Core, vec![(Direction::Out, strengths.core), (Direction::And, 1.0)])],
        },
        Role::Neutral => Movement {
            from: neutral,
            to: last,
            parts: vec![(Direction::Neutral, vec![(Direction::Out, strengths.neutral)])],
        },
        Role::Idle => Movement { from: filler, to: last, parts: scatter(HEAD_WIDTH).collect() },
    }
}

/// Queries, keys, values and the output projection of a block.
fn attention(wiring: &Wiring, layer: usize, basis: &Basis, seed: &Seed) -> [Map; 4] {
    let inner = HEADS * HEAD_WIDTH;
    let [mut q, mut k, mut v] = [(); 3].map(|()| Map::new(inner, WIDTH));
    let mut o = Map::new(WIDTH, inner);
    for (role, node) in wiring.heads().iter().filter(|(_, node)| node.layer() == layer) {
        let super::super::node::Node::Head { head, .. } = *node else { continue };
        let mut rng = seed.fork(&format!("{head}")).rng();
        let frame = |vectors: Vec<Vec<f64>>| vectors.into_iter().map(move |vector| in_head(head, &vector));
        let keys: Vec<Vec<f64>> = frame(orthonormal(HEAD_WIDTH, &mut rng)).collect();
        let values = frame(orthonormal(HEAD_WIDTH, &mut rng));
        let Movement { from, to, parts } = movement(wiring, *role, &seed.fork(&format!("{head} moves")));
        for (position, key) in keys.iter().enumerate() {
            k.add(key, basis.vector(Direction::Position(position)), 1.0);
        }
        let sharpness = SHARPNESS * (HEAD_WIDTH as f64).sqrt();
        for position in 0..TOKENS {
            let target = if position == to { from } else { 0 };
            if let Some(key) = keys.get(target) {
                q.add(key, basis.vector(Direction::Position(position)), sharpness);
            }
        }
        for (value, (read, write)) in values.zip(parts) {
            v.add(&value, basis.vector(read), 1.0);
            o.add(&basis.sum(&write), &value, 1.0);
        }
    }
    [q, k, v, o]
}

/// A head's vector among those of all heads of its block.
fn in_head(head: usize, vector: &[f64]) -> Vec<f64> {
    let before = std::iter::repeat_n(0.0, head * HEAD_WIDTH);
    let after = std::iter::repeat_n(0.0, (HEADS - head - 1) * HEAD_WIDTH);
    before.chain(vector.iter().copied()).chain(after).collect()
}

/// One neuron: weight and direction that it reads, its bias, and what it writes.
struct Neuron {
    read: Vec<(Direction, f64)>,
    bias: f64,
    write: Vec<(Direction, f64)>,
}

fn neurons(wiring: &Wiring, layer: usize, seed: &Seed) -> Vec<Neuron> {
    let ramp = |direction, slope, bias, weight| Neuron {
        read: vec![(direction, slope)],
        bias,
        write: vec![(Direction::Out, weight)],
    };
    let [or, and, saturated] = wiring.gates;
    let strength = |path| wiring.strength(path);
    let mut neurons = Vec::new();
    if or == layer {
        neurons.push(ramp(Direction::Or, 2.0, -0.5, strength(Path::Or)));
        neurons.push(ramp(Direction::Or, 2.0, -1.5, -strength(Path::Or)));
    }
    if and == layer {
        neurons.push(ramp(Direction::And, 2.0, -3.0, strength(Path::And)));
    }
    if saturated == layer {
        neurons.push(ramp(Direction::Saturated, 4.0, -1.0, strength(Path::Saturated)));
        neurons.push(ramp(Direction::Saturated, 4.0, -2.0, -strength(Path::Saturated)));
    }
    neurons.extend((0..IDLE_NEURONS).map(|number| {
        let seed = seed.fork(&format!("idle {number}"));
        Neuron { read: noise(&seed.fork("read"), 0.5), bias: 0.1, write: noise(&seed.fork("write"), 0.5) }
    }));
    neurons
}

/// `up [m, d]`, its bias `[m]` and `down [d, m]` of a block's MLP.
fn mlp(wiring: &Wiring, layer: usize, basis: &Basis, seed: &Seed) -> [Vec<f32>; 3] {
    let (mut up, mut down) = (Map::new(NEURONS, WIDTH), Map::new(WIDTH, NEURONS));
    let mut bias = vec![0.0; NEURONS];
    for ((number, neuron), bias) in neurons(wiring, layer, seed).into_iter().enumerate().zip(&mut bias) {
        let place = unit(number, NEURONS);
        up.add(&place, &basis.sum(&neuron.read), 1.0);
        down.add(&basis.sum(&neuron.write), &place, 1.0);
        *bias = neuron.bias as f32;
    }
    [up.single(), bias, down.single()]
}

/// `[v, d]`: the two answers read the logit difference, half each; no other token reads anything.
fn head(wiring: &Wiring, basis: &Basis) -> Vec<f32> {
    let mut head = Map::new(VOCABULARY, WIDTH);
    let read = basis.sum(&[(Direction::Out, 1.0), (Direction::Dormant, wiring.strengths.dormant)]);
    for (answer, half) in ANSWERS.into_iter().zip([0.5, -0.5]) {
        head.add(&unit(answer as usize, VOCABULARY), &read, half);
    }
    head.single()
}
