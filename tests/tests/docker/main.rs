//! Beside a real Docker engine, Podman and libvirt: containers by the names of their networks, and nothing of
//! the engine's own is changed or stops to work.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod beside;
mod compose;
mod configuration;
mod doctor;
mod engine;
mod lesson;
mod libvirt;
mod life;
mod names;
mod page;
mod podman;
mod rig;
mod showcase;
mod trace;
