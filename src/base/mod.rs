//! What every room needs and nothing else: errors of the file system, seeded named random streams, content
//! digests, the progress trait, the length of a text under zlib, and all file access. Knows no other room.

pub mod digest;
pub mod files;
pub mod progress;
pub mod seed;
mod zlib;

pub use digest::Digest;
pub use files::FileError;
pub use progress::{Progress, Silent};
pub use seed::Seed;
pub use zlib::zlib_length;

/// The names of `known` that resemble `given` most, for "did you mean …" lines; at most one, or none.
pub fn suggestion<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(given, name), name))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
