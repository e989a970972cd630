//! Headers and checksums, by value.
