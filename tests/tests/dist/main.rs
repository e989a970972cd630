//! What is installed on other hosts: the package and the tarball that `cargo xtask dist` makes, in a
//! root of their own.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod package;
mod service;
mod systemd;
mod tarball;
mod unit;
