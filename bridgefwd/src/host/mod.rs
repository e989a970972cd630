//! The host's facts: what the kernel and its neighbours tell us about interfaces, addresses and
//! namespaces.

pub mod netns;
