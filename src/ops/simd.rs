//! Elementary functions and sums that the compiler turns into vector code.
//!
//! Everything here is inlined into functions that `multiversion` compiles once for each instruction set and picks at
//! run time. Fused multiply-add is not used and sums run in a fixed number of lanes, so results do not depend on the
//! set that is picked. NaN passes through.

/// Partial sums that run side by side.
const LANES: usize = 16;

/// Terms that are summed in single precision before a partial sum goes over to double.
const BLOCK: usize = 1024;

/// e^x to about one unit in the last place, at least 2^−126, at most about 2.4e38 (Cephes' `expf`).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // 1.5·2²³: adding it rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < -87.33 { -87.33 } else { x };
    let x = if x > 88.37 { 88.37 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, the first exact in a product with a small whole number.
    let r = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let p = ((((1.987_569_1e-4 * r + 1.398_199_9e-3) * r + 8.333_452e-3) * r + 4.166_579_6e-2) * r + 0.166_666_66) * r
        + 0.5;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    (p * r * r + r + 1.0) * power
}

/// 1 / (1 + e^−x).
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The hyperbolic tangent, to about 1e-7.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// The error function, to about 5e-7 (the rational approximation of Eigen's `erf`).
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = if x < -4.0 { -4.0 } else { x };
    let x = if x > 4.0 { 4.0 } else { x };
    let s = x * x;
    let p = (((((-2.726_142_3e-10 * s + 2.770_681_4e-8) * s - 2.101_024e-6) * s - 5.692_506_4e-5) * s
        - 7.349_906_3e-4)
        * s
        - 2.954_6e-3)
        * s
        - 1.609_603_3e-2;
    let q = (((-1.456_607_2e-5 * s - 2.133_740_6e-4) * s - 1.682_827e-3) * s - 7.373_329e-3) * s - 1.426_473_9e-2;
    x * p / q
}

/// The sum of the partial sums, halves onto halves.
#[inline(always)]
fn gathered(mut lanes: [f32; LANES]) -> f64 {
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = lanes.split_at_mut(width);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        width /= 2;
    }
    let [total, ..] = lanes;
    f64::from(total)
}

/// Σ f(x), in lanes.
#[inline(always)]
pub(super) fn sum_of(x: &[f32], f: impl Fn(f32) -> f32) -> f64 {
    let mut total = 0.0;
    for block in x.chunks(BLOCK) {
        let mut lanes = [0f32; LANES];
        let (chunks, rest) = block.as_chunks::<LANES>();
        for chunk in chunks {
            lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += f(*x));
        }
        lanes.iter_mut().zip(rest).for_each(|(lane, x)| *lane += f(*x));
        total += gathered(lanes);
    }
    total
}

/// Σ f(x, y), in lanes; the two run as far as the shorter.
#[inline(always)]
pub(super) fn sum_of_two(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut total = 0.0;
    for (x, y) in x.chunks(BLOCK).zip(y.chunks(BLOCK)) {
        let mut lanes = [0f32; LANES];
        let ((x_chunks, x_rest), (y_chunks, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
        for (x, y) in x_chunks.iter().zip(y_chunks) {
            lanes.iter_mut().zip(x.iter().zip(y)).for_each(|(lane, (x, y))| *lane += f(*x, *y));
        }
        lanes.iter_mut().zip(x_rest.iter().zip(y_rest)).for_each(|(lane, (x, y))| *lane += f(*x, *y));
        total += gathered(lanes);
    }
    total
}

/// The largest value, −∞ of none; NaN is passed over.
#[inline(always)]
pub(super) fn max_of(x: &[f32]) -> f32 {
    let larger = |a: &mut f32, b: &f32| *a = if *b > *a { *b } else { *a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| larger(lane, x));
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, x)| larger(lane, x));
    lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(
        from: f64,
        to: f64,
        ours: impl Fn(f32) -> f32,
        exact: impl Fn(f64) -> f64,
        scale: impl Fn(f64) -> f64,
    ) -> f64 {
        let step = (to - from) / 20_000.0;
        let at = |i: usize| (from + step * i as f64) as f32;
        let error = |x: f32| (f64::from(ours(x)) - exact(f64::from(x))).abs() / scale(exact(f64::from(x)));
        (0..=20_000).map(|i| error(at(i))).fold(0.0, f64::max)
    }

    #[test]
    fn elementary_functions_against_double_precision() {
        assert!(worst(-87.0, 88.0, exp, f64::exp, |y| y) < 2e-7);
        assert!(worst(-20.0, 20.0, tanh, f64::tanh, |_| 1.0) < 2e-7);
        assert!(worst(-6.0, 6.0, erf, statrs::function::erf::erf, |_| 1.0) < 6e-7);
        assert!(worst(-30.0, 30.0, sigmoid, |x| 1.0 / (1.0 + (-x).exp()), |_| 1.0) < 2e-7);
    }

    #[test]
    fn extremes() {
        assert!(exp(f32::NAN).is_nan() && erf(f32::NAN).is_nan() && tanh(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(1000.0) > 1e38);
        assert_eq!((tanh(100.0), tanh(-100.0), sigmoid(-200.0) < 1e-37), (1.0, -1.0, true));
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn sums_and_maxima_reach_every_element() {
        for n in [0, 1, 15, 16, 17, 100, 1024, 1025, 3000] {
            let x: Vec<f32> = (0..n).map(|i| i as f32 * 0.5).collect();
            let expected = (0..n).map(|i| i as f64 * 0.5).sum::<f64>();
            assert!((sum_of(&x, |x| x) - expected).abs() <= 1e-6 * expected);
            assert!((sum_of_two(&x, &x, |x, _| x) - expected).abs() <= 1e-6 * expected);
            assert_eq!(max_of(&x), if n == 0 { f32::NEG_INFINITY } else { (n - 1) as f32 * 0.5 });
        }
    }
}
