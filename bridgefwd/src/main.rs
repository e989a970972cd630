//! The `bridgefwd` command.
fn main() {}
