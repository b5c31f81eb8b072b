//! Records in the formats of other tools: inspect_ai's logs, and tables of items.

mod inspect;
mod items;

pub use inspect::inspect_logs;
pub use items::write_items;
