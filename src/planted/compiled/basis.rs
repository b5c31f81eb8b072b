//! The directions of a compiled model's stream, turned at random, and the matrices that are sums of outer products of
//! them. All in f64, in one order, so that a seed gives the same weights on every machine.

use rand::Rng;

use crate::base::Seed;
use crate::base::seed::normal;

/// Tokens of a prompt.
pub const TOKENS: usize = 8;
/// Width of the stream.
pub const WIDTH: usize = 32;
/// Width of a head.
pub const HEAD_WIDTH: usize = 8;
/// Directions that no head or gate on a path reads.
pub const SPARE: usize = WIDTH - TOKENS - 16;

/// One direction of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// 1 at the position.
    Position(usize),
    /// s, at its token.
    Attribute,
    /// One of the three contrasts between surface forms of the attribute's token.
    Surface(usize),
    /// c, at its token.
    Core,
    /// n, at its token.
    Neutral,
    /// s, at the relay position.
    RelayAttribute,
    /// One of them, at the relay position.
    RelaySurface(usize),
    /// What the OR gate reads.
    Or,
    /// What the AND gate reads.
    And,
    /// What the saturated gate reads.
    Saturated,
    /// What the decoy writes.
    Disconnected,
    /// What the logit reads and nothing writes.
    Dormant,
    /// The logit difference.
    Out,
    /// Noise that nothing on a path reads.
    Spare(usize),
}

impl Direction {
    fn index(self) -> usize {
        match self {
            Direction::Position(position) => position,
            Direction::Attribute => TOKENS,
            Direction::Surface(contrast) => TOKENS + 12 + contrast,
            Direction::Core => TOKENS + 1,
            Direction::Neutral => TOKENS + 2,
            Direction::RelayAttribute => TOKENS + 3,
            Direction::RelaySurface(contrast) => TOKENS + 9 + contrast,
            Direction::Or => TOKENS + 4,
            Direction::And => TOKENS + 5,
            Direction::Saturated => TOKENS + 6,
            Direction::Disconnected => TOKENS + 7,
            Direction::Dormant => TOKENS + 8,
            Direction::Out => TOKENS + 15,
            Direction::Spare(spare) => TOKENS + 16 + spare,
        }
    }
}

/// Orthonormal vectors, one a direction.
#[derive(Debug, Clone)]
pub struct Basis(Vec<Vec<f64>>);

impl Basis {
    /// The stream's basis: a uniformly random rotation (or reflection) of the axes.
    pub fn of_stream(seed: &Seed) -> Self {
        Self(orthonormal(WIDTH, &mut seed.rng()))
    }

    /// The vector of a direction, `[d]`.
    pub fn vector(&self, direction: Direction) -> &[f64] {
        self.0.get(direction.index()).map(Vec::as_slice).unwrap_or_default()
    }

    /// A weighted sum of directions, `[d]`.
    pub fn sum(&self, parts: &[(Direction, f64)]) -> Vec<f64> {
        let mut out = vec![0.0; WIDTH];
        for (direction, weight) in parts {
            add(&mut out, self.vector(*direction), *weight);
        }
        out
    }
}

/// `width` random orthonormal vectors: Gaussian vectors, made orthogonal twice over against rounding.
pub fn orthonormal(width: usize, rng: &mut impl Rng) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(width);
    while basis.len() < width {
        let mut vector: Vec<f64> = (0..width).map(|_| normal(rng)).collect();
        for other in basis.iter().chain(&basis) {
            let along = dot(other, &vector);
            add(&mut vector, other, -along);
        }
        let norm = dot(&vector, &vector).sqrt();
        // A draw that lies almost in the span of the others is drawn again.
        if norm > 1e-3 {
            basis.push(vector.into_iter().map(|value| value / norm).collect());
        }
    }
    basis
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(into: &mut [f64], vector: &[f64], weight: f64) {
    into.iter_mut().zip(vector).for_each(|(into, value)| *into += weight * value);
}

/// A matrix `[out, in]` as a sum of outer products.
#[derive(Debug, Clone)]
pub struct Map {
    inputs: usize,
    values: Vec<f64>,
}

impl Map {
    /// Zero.
    pub fn new(outputs: usize, inputs: usize) -> Self {
        Self { inputs, values: vec![0.0; outputs * inputs] }
    }

    /// Adds weight · out inᵀ.
    pub fn add(&mut self, out: &[f64], input: &[f64], weight: f64) {
        for (row, out) in self.values.chunks_exact_mut(self.inputs).zip(out) {
            add(row, input, weight * out);
        }
    }

    /// The values row by row, in single precision.
    pub fn single(self) -> Vec<f32> {
        self.values.into_iter().map(|value| value as f32).collect()
    }
}

/// The unit vector of `index` among `width`.
pub fn unit(index: usize, width: usize) -> Vec<f64> {
    (0..width).map(|at| if at == index { 1.0 } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_direction_has_a_vector_of_its_own() {
        let basis = Basis::of_stream(&Seed::new(1));
        assert_eq!(Direction::Spare(SPARE - 1).index(), WIDTH - 1);
        for (i, a) in basis.0.iter().enumerate() {
            for (j, b) in basis.0.iter().enumerate() {
                let expected = if i == j { 1.0 } else { 0.0 };
                assert!((dot(a, b) - expected).abs() < 1e-13, "{i} {j}");
            }
        }
        // Not the axes themselves.
        assert!(basis.0.iter().flatten().all(|value| value.abs() < 0.95));
    }
}
