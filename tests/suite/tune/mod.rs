//! Training on tiny models made here: from scratch, and with adapters.

mod pretrain;
mod tiny;
