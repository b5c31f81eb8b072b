//! How long work tells somebody outside how far it is, and learns that it should stop.

/// Receives the progress of one job after another. The library reports; the binary draws.
pub trait Progress: Send + Sync {
    /// A stage begins; `total` counts its units, 0 where unknown.
    fn start(&self, stage: &str, total: u64);
    /// So many units more are done.
    fn advance(&self, units: u64);
    /// One line worth keeping (a loss, a finding).
    fn note(&self, line: &str);
    /// The stage is over.
    fn finish(&self);
    /// Whether the user asked to stop. Long work polls this between units, keeps what is finished, and returns its
    /// room's `Interrupted` error.
    fn cancelled(&self) -> bool;
}

/// Reports to nobody and is never cancelled.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn note(&self, _: &str) {}
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        false
    }
}
