//! Counterpath.
fn main() {}
