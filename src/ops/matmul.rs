//! Matrix products on slices, by the `gemm` crate that candle itself uses.

use gemm::Parallelism;

/// A matrix inside a slice: element (i, j) at `offset + i·row + j·column`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix {
    pub offset: usize,
    pub rows: usize,
    pub columns: usize,
    pub row: usize,
    pub column: usize,
}

impl Matrix {
    /// A matrix that fills its slice row by row.
    pub fn dense(rows: usize, columns: usize) -> Self {
        Self { offset: 0, rows, columns, row: columns, column: 1 }
    }

    /// The same elements, rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { offset: self.offset, rows: self.columns, columns: self.rows, row: self.column, column: self.row }
    }

    /// One past the last element.
    fn end(&self) -> usize {
        match self.rows * self.columns {
            0 => 0,
            _ => self.offset + (self.rows - 1) * self.row + (self.columns - 1) * self.column + 1,
        }
    }
}

/// What happens to what the destination holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Onto {
    /// It is overwritten.
    Overwrite,
    /// The product is added.
    Add,
}

/// Where a product may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// On this thread: the caller works on several products at once.
    One,
    /// On all of the pool, where it is large enough.
    All,
}

/// Somewhere to write a product; several of them may lie interleaved in one slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    start: *mut f32,
    len: usize,
}

// SAFETY: a target is written only through `multiply_into`, whose callers give concurrent calls disjoint matrices.
#[allow(unsafe_code)]
unsafe impl Send for Target {}
#[allow(unsafe_code)]
unsafe impl Sync for Target {}

impl Target {
    pub fn of(values: &mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len() }
    }
}

/// dst ← [dst +] scale · left · right. Nothing is done where the shapes or slices do not fit together, which callers
/// rule out by their own checks.
pub(super) fn multiply(
    dst: (&mut [f32], Matrix),
    left: (&[f32], Matrix),
    right: (&[f32], Matrix),
    scale: f32,
    onto: Onto,
    threads: Threads,
) {
    multiply_into((Target::of(dst.0), dst.1), left, right, scale, onto, threads);
}

/// left · right, row by row; zeros where the two do not fit together or into their slices.
pub(super) fn product(left: (&[f32], Matrix), right: (&[f32], Matrix), threads: Threads) -> Vec<f32> {
    let (rows, columns) = (left.1.rows, right.1.columns);
    let fits = left.1.columns == right.1.rows && left.1.columns > 0;
    if !fits || left.1.end() > left.0.len() || right.1.end() > right.0.len() {
        return vec![0.0; rows * columns];
    }
    let mut out: Vec<f32> = Vec::with_capacity(rows * columns);
    let target = Target { start: out.as_mut_ptr(), len: rows * columns };
    multiply_into((target, Matrix::dense(rows, columns)), left, right, 1.0, Onto::Overwrite, threads);
    // SAFETY: the checks above are those of `multiply_into`, which then writes every element of the dense target.
    #[allow(unsafe_code)]
    unsafe {
        out.set_len(rows * columns);
    }
    out
}

/// [`multiply`] into a part of a slice of which other threads write other parts.
pub(super) fn multiply_into(
    (target, dst): (Target, Matrix),
    (left_values, left): (&[f32], Matrix),
    (right_values, right): (&[f32], Matrix),
    scale: f32,
    onto: Onto,
    threads: Threads,
) {
    let fits = left.columns == right.rows && dst.rows == left.rows && dst.columns == right.columns;
    let inside = dst.end() <= target.len && left.end() <= left_values.len() && right.end() <= right_values.len();
    debug_assert!(fits && inside, "{dst:?} = {left:?} × {right:?}");
    if !fits || !inside || dst.rows * dst.columns == 0 {
        return;
    }
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(0),
    };
    let stride = |stride: usize| stride as isize;
    // SAFETY: the largest element of each matrix was just checked to lie inside its slice, and `dst` is either
    // borrowed exclusively or, by the contract of `Target`, apart from what other threads write.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            dst.rows,
            dst.columns,
            left.columns,
            target.start.add(dst.offset),
            stride(dst.column),
            stride(dst.row),
            onto == Onto::Add,
            left_values.as_ptr().add(left.offset),
            stride(left.column),
            stride(left.row),
            right_values.as_ptr().add(right.offset),
            stride(right.column),
            stride(right.row),
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_and_transposed_products() {
        let left: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let right: Vec<f32> = (0..20).map(|i| 1.0 - i as f32).collect();
        // A 3×2 matrix with rows 4 apart, and the transpose of a 5×2 matrix with rows 4 apart, offset by one.
        let a = Matrix { offset: 1, rows: 3, columns: 2, row: 4, column: 1 };
        let b = Matrix { offset: 1, rows: 5, columns: 2, row: 4, column: 1 }.transposed();
        let mut out = vec![1f32; 15];
        multiply((&mut out, Matrix::dense(3, 5)), (&left, a), (&right, b), 0.5, Onto::Add, Threads::All);
        for i in 0..3 {
            for j in 0..5 {
                let dot: f32 = (0..2).map(|c| left[1 + 4 * i + c] * right[1 + 4 * j + c]).sum();
                assert_eq!(out[5 * i + j], 1.0 + 0.5 * dot);
            }
        }
    }
}
