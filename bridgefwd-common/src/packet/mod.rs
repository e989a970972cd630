//! Headers and checksums, by value.

pub mod checksum;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod quoted;
pub mod quoted_ip;
pub mod transport;
