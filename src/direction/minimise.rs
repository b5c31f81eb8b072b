//! Minimum of a smooth convex function by L-BFGS (Liu and Nocedal 1989), with a backtracking line search.

use std::collections::VecDeque;

use super::matrix::Vector;

/// Pairs of steps and gradient changes that are kept.
const MEMORY: usize = 10;
const ITERATIONS: usize = 500;
/// Share of the predicted decrease that a step must reach (Armijo).
const DECREASE: f64 = 1e-4;
const HALVINGS: usize = 40;

/// The minimiser of `function`, which gives value and gradient, from `start` on: until no entry of the gradient exceeds
/// `tolerance`, or no step decreases the value any more.
pub(super) fn minimise(start: Vector, tolerance: f64, function: impl Fn(&Vector) -> (f64, Vector)) -> Vector {
    let mut x = start;
    let (mut value, mut gradient) = function(&x);
    let mut memory: VecDeque<(Vector, Vector)> = VecDeque::with_capacity(MEMORY);
    for _ in 0..ITERATIONS {
        if gradient.amax() <= tolerance {
            break;
        }
        let mut direction = descent(&gradient, &memory);
        if direction.dot(&gradient) >= 0.0 {
            memory.clear();
            direction = -&gradient;
        }
        let slope = direction.dot(&gradient);
        let mut length = 1.0;
        let mut found = None;
        for _ in 0..HALVINGS {
            let moved = &x + &direction * length;
            let (at, slopes) = function(&moved);
            if at.is_finite() && at <= value + DECREASE * length * slope {
                found = Some((moved, at, slopes));
                break;
            }
            length *= 0.5;
        }
        let Some((moved, at, slopes)) = found else { break };
        let (step, change) = (&moved - &x, &slopes - &gradient);
        if step.dot(&change) > 1e-14 * change.norm_squared() {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back((step, change));
        }
        (x, value, gradient) = (moved, at, slopes);
    }
    x
}

/// −H g by the two loops over the memory.
fn descent(gradient: &Vector, memory: &VecDeque<(Vector, Vector)>) -> Vector {
    let mut q = gradient.clone();
    let mut shares = Vec::with_capacity(memory.len());
    for (step, change) in memory.iter().rev() {
        let share = step.dot(&q) / step.dot(change);
        q -= change * share;
        shares.push(share);
    }
    if let Some((step, change)) = memory.back() {
        q *= step.dot(change) / change.norm_squared();
    }
    for ((step, change), share) in memory.iter().zip(shares.into_iter().rev()) {
        let back = change.dot(&q) / step.dot(change);
        q += step * (share - back);
    }
    -q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badly_scaled_bowl() {
        let scales = [1.0, 1e3, 1e-2];
        let target = [3.0, -2.0, 0.5];
        let found = minimise(Vector::zeros(3), 1e-10, |x| {
            let offsets = Vector::from_fn(3, |i, _| x[i] - target[i]);
            let value = (0..3).map(|i| 0.5 * scales[i] * offsets[i] * offsets[i]).sum();
            (value, Vector::from_fn(3, |i, _| scales[i] * offsets[i]))
        });
        assert!((0..3).all(|i| (found[i] - target[i]).abs() < 1e-6), "{found}");
    }
}
