//! Beside a real Docker engine: containers by the names of their networks, and nothing of Docker's own
//! is changed or stops to work.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod beside;
mod configuration;
mod engine;
mod life;
mod names;
mod page;
mod rig;
mod showcase;
