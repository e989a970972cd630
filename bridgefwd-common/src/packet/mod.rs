//! Headers and checksums, by value.

pub mod checksum;
pub mod headers;
pub mod quoted;
