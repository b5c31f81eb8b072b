//! lm-eval's task files: YAML that says where documents are, what is asked of them, and what is measured.
//!
//! [`Catalogue`] knows which tasks, groups and tags files define; [`tree`] reads one file with what it includes;
//! [`TaskFile`] is a file's content, typed and checked; `build` makes a [`Task`](super::Task) of it and its documents. Python that a
//! file names (`!function`) is never run: [`function`] has the functions of the standard, bias and robustness tasks anew, and
//! every other is refused by name.

pub mod build;
pub mod catalogue;
pub mod documents;
pub mod field;
pub mod file;
pub mod function;
pub mod group;
pub mod tree;

pub use build::{Overrides, Planned, build};
pub use catalogue::{Catalogue, Entry, Kind};
pub use file::TaskFile;
pub use group::{Group, Selection};
