//! Plain-text tables for a terminal, as strings: the binary prints them.
