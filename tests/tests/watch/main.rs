//! How it is watched: by Prometheus, in a browser, and in a terminal, each of them a real one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod listing;
mod metrics;
mod page;
mod prometheus;
mod rig;
mod terminal;
mod top;
mod top_hang_up;
