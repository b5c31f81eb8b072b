//! Every kernel against its composed form, in value and gradient, and against finite differences.

use candle_core::{Device, Result, Tensor, Var};

use super::{Activation, Attending, CausalMask, FrozenWeight, Pairing, WeightLayout, composed};
use crate::base::Seed;
use crate::base::seed::normal;

type Operation<'a> = &'a dyn Fn(&[Tensor]) -> Result<Tensor>;

fn random(name: &str, shape: &[usize]) -> Tensor {
    let mut rng = Seed::new(5).fork(name).rng();
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| normal(&mut rng) as f32).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).expect("tensor")
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("values").into_iter().map(f64::from).collect()
}

/// Result and gradients of Σ weight·result.
fn run(inputs: &[Tensor], operation: Operation<'_>) -> (Tensor, Vec<Vec<f64>>) {
    let vars: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).expect("variable")).collect();
    let tracked: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let result = operation(&tracked).expect("result");
    let weight = random("weight", result.dims());
    let gradients = (&result * weight).and_then(|p| p.sum_all()?.backward()).expect("backward");
    let of = |var: &Var| values(gradients.get(var).expect("a gradient for every input"));
    let gradients = vars.iter().map(of).collect();
    (result.detach(), gradients)
}

fn objective(inputs: &[Tensor], operation: Operation<'_>) -> f64 {
    let result = operation(inputs).expect("result");
    assert!(!result.track_op(), "nothing is tracked without variables");
    values(&result).iter().zip(values(&random("weight", result.dims()))).map(|(r, w)| r * w).sum()
}

fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1.0, |scale: f64, x| scale.max(x.abs()));
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{what}, element {index}: {a} against {b}");
    }
}

/// Values and gradients equal the composed form's, and gradients the finite differences of some elements.
fn check(name: &str, inputs: &[Tensor], ours: Operation<'_>, oracle: Operation<'_>) {
    let (found, gradients) = run(inputs, ours);
    let (expected, oracle_gradients) = run(inputs, oracle);
    assert_eq!(found.dims(), expected.dims(), "{name}");
    close(&format!("{name} value"), &values(&found), &values(&expected), 2e-6);
    for (input, (gradient, expected)) in gradients.iter().zip(&oracle_gradients).enumerate() {
        close(&format!("{name} gradient {input}"), gradient, expected, 5e-6);
    }
    differences(name, inputs, &gradients, ours);
}

fn differences(name: &str, inputs: &[Tensor], gradients: &[Vec<f64>], operation: Operation<'_>) {
    const STEP: f32 = 5e-3;
    for (input, gradient) in gradients.iter().enumerate() {
        let base = inputs[input].flatten_all().and_then(|flat| flat.to_vec1::<f32>()).expect("values");
        let stride = (base.len() / 12).max(1);
        let scale = gradient.iter().fold(1.0, |scale: f64, g| scale.max(g.abs()));
        for element in (0..base.len()).step_by(stride) {
            let moved = |step: f32| {
                let mut values = base.clone();
                values[element] += step;
                let mut inputs = inputs.to_vec();
                inputs[input] = Tensor::from_vec(values, inputs[input].shape(), &Device::Cpu).expect("tensor");
                objective(&inputs, operation)
            };
            let slope = (moved(STEP) - moved(-STEP)) / (2.0 * f64::from(STEP));
            let difference = (slope - gradient[element]).abs();
            assert!(
                difference <= 2e-3 * scale,
                "{name} input {input} element {element}: {slope} against {}",
                gradient[element]
            );
        }
    }
}

/// Small sizes that leave remainders in every lane count, and one that is split over threads.
const SIZES: [(usize, usize); 3] = [(3, 5), (7, 33), (260, 130)];

#[test]
fn norms() {
    for (rows, width) in SIZES {
        let x = (random("x", &[rows, width]) + 0.3).expect("x");
        let gain = random("gain", &[width]);
        let bias = random("bias", &[width]);
        let rms: Operation<'_> = &|t| super::rms_norm(&t[0], &t[1], 1e-5);
        check("rms_norm", &[x.clone(), gain.clone()], rms, &|t| composed::rms_norm(&t[0], &t[1], 1e-5));
        let layer: Operation<'_> = &|t| super::layer_norm(&t[0], &t[1], Some(&t[2]), 1e-5);
        check("layer_norm", &[x, gain, bias], layer, &|t| composed::layer_norm(&t[0], &t[1], Some(&t[2]), 1e-5));
    }
}

#[test]
fn activations() {
    for activation in [Activation::Silu, Activation::GeluTanh, Activation::GeluErf, Activation::Relu] {
        for (rows, width) in SIZES {
            let gate = (random("gate", &[rows, width]) * 2.0).expect("gate");
            let up = random("up", &[rows, width]);
            let name = format!("{activation:?}");
            let oracle = composed::activate;
            check(&name, std::slice::from_ref(&gate), &|t| super::activate(&t[0], activation), &|t| {
                oracle(&t[0], activation)
            });
            let gated: Operation<'_> = &|t| super::gated(&t[0], &t[1], activation);
            check(&name, &[gate, up], gated, &|t| composed::gated(&t[0], &t[1], activation));
        }
    }
}

#[test]
fn softmax() {
    for (offset, window) in [(0, None), (2, None), (0, Some(2)), (3, Some(4))] {
        for softcap in [None, Some(3.0)] {
            for (heads, queries) in [(2, 5), (3, 19), (40, 24)] {
                let mask = CausalMask { offset, window };
                let scores = (random("scores", &[2, heads, queries, queries + offset]) * 3.0).expect("scores");
                let name = format!("softmax {mask:?} {softcap:?}");
                let ours: Operation<'_> = &|t| super::causal_softmax(&t[0], 0.7, mask, softcap);
                check(&name, &[scores], ours, &|t| composed::causal_softmax(&t[0], 0.7, mask, softcap));
            }
        }
    }
}

/// Attention from elementary operations, each query head with its own copy of keys and values.
fn attention_oracle(q: &Tensor, k: &Tensor, v: &Tensor, how: Attending) -> Result<Tensor> {
    let (_, _, heads, _) = q.dims4()?;
    let (batch, keys, kv_heads, width) = k.dims4()?;
    let spread = |x: &Tensor| {
        let shape = (batch, keys, kv_heads, heads / kv_heads, width);
        x.unsqueeze(3)?.broadcast_as(shape)?.reshape((batch, keys, heads, width))?.transpose(1, 2)?.contiguous()
    };
    let scores = q.transpose(1, 2)?.contiguous()?.matmul(&spread(k)?.t()?)?;
    let pattern = composed::causal_softmax(&scores, how.scale, how.mask, how.softcap)?;
    pattern.matmul(&spread(v)?)?.transpose(1, 2)?.contiguous()
}

#[test]
fn attentions() {
    let plain = CausalMask::default();
    let cases = [
        (2, 5, 5, 4, 2, 6, plain, None),
        (1, 1, 1, 2, 1, 8, plain, None),
        (2, 150, 150, 2, 1, 16, plain, None),
        (2, 9, 9, 4, 4, 8, CausalMask { offset: 0, window: Some(3) }, Some(2.0)),
        (2, 140, 140, 2, 2, 8, CausalMask { offset: 0, window: Some(20) }, None),
        (3, 4, 11, 4, 2, 8, CausalMask { offset: 7, window: None }, None),
    ];
    for (batch, queries, keys, heads, kv_heads, width, mask, softcap) in cases {
        let how = Attending { scale: 0.4, softcap, mask };
        let q = random("q", &[batch, queries, heads, width]);
        let [k, v] = ["k", "v"].map(|name| random(name, &[batch, keys, kv_heads, width]));
        let name = format!("attention {queries} {keys} {heads} {kv_heads} {mask:?} {softcap:?}");
        let inputs = [q, k, v];
        let oracle: Operation<'_> = &|t| attention_oracle(&t[0], &t[1], &t[2], how);
        check(&name, &inputs, &|t| super::attention(&t[0], &t[1], &t[2], how), oracle);
        let shown: Operation<'_> = &|t| super::attend(&super::attention_pattern(&t[0], &t[1], how)?, &t[2]);
        check(&name, &inputs, shown, oracle);
        if heads == kv_heads {
            let rows = inputs.clone().map(|x| x.reshape((batch, queries, heads * width)).expect("rows"));
            let qkv = Tensor::cat(&rows, 2).expect("qkv");
            let part = |t: &Tensor, i: usize| {
                t.narrow(2, i * heads * width, heads * width)?.contiguous()?.reshape((batch, queries, heads, width))
            };
            let oracle: Operation<'_> =
                &|t| attention_oracle(&part(&t[0], 0)?, &part(&t[0], 1)?, &part(&t[0], 2)?, how);
            check(&name, &[qkv], &|t| super::fused_attention(&t[0], heads, how), oracle);
        }
    }
}

#[test]
fn rotation() {
    for (heads, width, pairs) in [(1, 8, 4), (3, 10, 3), (4, 64, 32)] {
        let x = random("x", &[3, 17, heads, width]);
        let angles = random("angles", &[17, pairs]);
        let (cos, sin) = (angles.cos().expect("cos"), angles.sin().expect("sin"));
        for pairing in [Pairing::Halves, Pairing::Neighbours] {
            let ours: Operation<'_> = &|t| super::rotate(&t[0], &cos, &sin, pairing);
            let oracle: Operation<'_> = &|t| composed::rotate(&t[0], &cos, &sin, pairing);
            check(&format!("rotate {pairing:?}"), std::slice::from_ref(&x), ours, oracle);
        }
    }
}

#[test]
fn linears() {
    for layout in [WeightLayout::OutIn, WeightLayout::InOut] {
        for (rows, inputs, outputs) in [(3, 5, 4), (70, 33, 20), (300, 64, 96)] {
            let x = random("x", &[2, rows, inputs]);
            let shape = if layout == WeightLayout::OutIn { [outputs, inputs] } else { [inputs, outputs] };
            let weight = (random("w", &shape) / (inputs as f64).sqrt()).expect("w");
            let bias = random("b", &[outputs]);
            let trained: Operation<'_> = &|t| super::linear(&t[0], &t[1], Some(&t[2]), layout);
            let all = [x.clone(), weight.clone(), bias.clone()];
            check("trained", &all, trained, &|t| composed::linear(&t[0], &t[1], Some(&t[2]), layout));
            let without: Operation<'_> = &|t| super::linear(&t[0], &t[1], None, layout);
            check("no bias", &all[..2], without, &|t| composed::linear(&t[0], &t[1], None, layout));
            let frozen: Operation<'_> = &|t| super::linear(&t[0], &weight, Some(&bias), layout);
            check("frozen", &all[..1], frozen, &|t| composed::linear(&t[0], &weight, Some(&bias), layout));
            low_rank(&x, FrozenWeight { weight: &weight, bias: Some(&bias), layout });
            let turned = super::stored_by_column(&weight).expect("by column");
            assert_eq!((turned.stride(), turned.dims()), ([1, shape[0]].as_slice(), weight.dims()));
            assert_eq!(values(&turned), values(&weight));
            let by_column: Operation<'_> = &|t| super::linear(&t[0], &turned, Some(&bias), layout);
            check("by column", &all[..1], by_column, &|t| composed::linear(&t[0], &weight, Some(&bias), layout));
            low_rank(&x, FrozenWeight { weight: &turned, bias: Some(&bias), layout });
            let part = 1..outputs - 1;
            let some = super::linear_columns(&x, &turned, Some(&bias), layout, part.clone()).expect("columns");
            let whole = super::linear(&x, &weight, Some(&bias), layout).expect("whole");
            let expected = whole.narrow(2, part.start, part.len()).expect("part");
            close("columns", &values(&some), &values(&expected), 2e-6);
        }
    }
}

fn low_rank(x: &Tensor, frozen: FrozenWeight<'_>) {
    let (inputs, outputs) = (x.dims()[2], frozen.bias.expect("bias").elem_count());
    let inputs = [x.clone(), random("a", &[4, inputs]), random("b", &[outputs, 4])];
    let inputs = inputs.map(|tensor| (tensor / 4.0).expect("scaled"));
    let ours: Operation<'_> = &|t| super::lora_linear(&t[0], frozen, &t[1], &t[2], 1.7);
    let oracle: Operation<'_> = &|t| {
        let low = composed::linear(&t[0], &t[1], None, WeightLayout::OutIn)?;
        let update = composed::linear(&low, &t[2], None, WeightLayout::OutIn)?;
        composed::linear(&t[0], frozen.weight, frozen.bias, frozen.layout)? + (update * 1.7)?
    };
    check("lora", &inputs, ours, oracle);
}

#[test]
fn frozen_weights_get_no_gradient() {
    let x = Var::from_tensor(&random("x", &[6, 4])).expect("variable");
    let weight = random("w", &[4, 5]);
    let layout = WeightLayout::InOut;
    for dtype in [candle_core::DType::F32, candle_core::DType::F64] {
        let cast = |tensor: &Tensor| tensor.to_dtype(dtype).expect("cast");
        let (cast_x, weight) = (cast(&x), cast(&weight));
        let gradients = |y: Result<Tensor>| y.and_then(|y| y.sqr()?.sum_all()?.backward()).expect("backward");
        let ours = gradients(super::linear(&cast_x, &weight, None, layout));
        let composed = gradients(composed::linear(&cast_x, &weight, None, layout));
        assert!(ours.get(&weight).is_none() && composed.get(&weight).is_some(), "{dtype:?}");
        let of_x = |gradients: &candle_core::backprop::GradStore| values(gradients.get(&x).expect("gradient"));
        close("input gradient", &of_x(&ours), &of_x(&composed), 1e-6);
    }
}

#[test]
fn log_probabilities() {
    for (rows, vocab) in [(3, 7), (5, 130), (40, 2500)] {
        let logits = (random("logits", &[rows, vocab]) * 3.0).expect("logits");
        let picks: Vec<(usize, u32)> = (0..2 * rows).map(|i| ((i * 7) % rows, ((i * 31) % vocab) as u32)).collect();
        let ours: Operation<'_> = &|t| super::logprobs_at(&t[0], &picks);
        check("logprobs", std::slice::from_ref(&logits), ours, &|t| composed::logprobs_at(&t[0], &picks));
        assert_eq!(super::argmax_rows(&logits).expect("argmax"), composed::argmax_rows(&logits).expect("argmax"));
    }
    let logits = random("logits", &[2, 3]);
    assert!(super::logprobs_at(&logits, &[(2, 0)]).is_err() && super::logprobs_at(&logits, &[(0, 3)]).is_err());
    let huge = Tensor::new(&[[1000f32, 0.0], [f32::NAN, 0.0]], &Device::Cpu).expect("logits");
    let found = values(&super::logprobs_at(&huge, &[(0, 0), (0, 1), (1, 1)]).expect("values"));
    assert!(found[0] == 0.0 && found[1] == -1000.0 && found[2].is_nan(), "{found:?}");
}

#[test]
fn embedding() {
    let table = random("table", &[11, 6]);
    let ids = Tensor::new(&[[3u32, 1, 3], [0, 10, 3]], &Device::Cpu).expect("ids");
    check("embed", std::slice::from_ref(&table), &|t| super::embed(&t[0], &ids), &|t| composed::embed(&t[0], &ids));
    let outside = Tensor::new(&[11u32], &Device::Cpu).expect("ids");
    assert!(super::embed(&table, &outside).expect_err("outside").to_string().contains("11"));
}

#[test]
fn views_are_read_where_they_stand() {
    let wide = random("wide", &[6, 40]);
    let narrow = wide.narrow(1, 3, 20).expect("view");
    let gain = random("gain", &[20]);
    let found = super::rms_norm(&narrow, &gain, 1e-5).expect("norm");
    close("view", &values(&found), &values(&composed::rms_norm(&narrow, &gain, 1e-5).expect("norm")), 2e-6);
    let turned = random("turned", &[20, 6]).t().expect("view");
    let weight = random("w", &[9, 20]);
    let found = super::linear(&turned, &weight, None, WeightLayout::OutIn).expect("linear");
    let expected =
        composed::linear(&turned.contiguous().expect("copy"), &weight, None, WeightLayout::OutIn).expect("linear");
    close("turned view", &values(&found), &values(&expected), 2e-6);
}
