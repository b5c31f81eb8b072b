//! Training on tiny models made here: from scratch, and with adapters.

mod pretrain;
mod repair;
mod terms;
mod tiny;
mod training;
mod world;
