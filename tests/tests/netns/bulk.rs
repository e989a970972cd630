//! 50 MB each way at once, with digests, with offloads on and off.

use bridgefwd_tests::needs_root;
use bridgefwd_tests::topology::Options;
use bridgefwd_tests::traffic::{listen, pair_up, transfer};

use crate::rig::{Rig, with_and_without_offloads};

const BYTES: u64 = 50 << 20;

#[track_caller]
fn fifty_megabytes(options: Options) {
    let rig = Rig::allowed(options, &[]);
    let (a, b) = (rig.a(), rig.b());
    let listener = listen(&b.ns, b.at(80));
    let (near, far, _) = pair_up(&a.ns, 0, &listener);
    transfer(near, far, BYTES);
    let flow = rig.flow("tcp");
    for direction in ["original", "reply"] {
        let bytes = flow["bytes"][direction].as_u64().expect("bytes");
        assert!(bytes > BYTES, "{direction}: {bytes}");
    }
    assert_eq!(rig.forwarded_by_kernel(), 0);
}

#[test]
fn with_offloads() {
    needs_root!();
    fifty_megabytes(with_and_without_offloads()[0]);
}

#[test]
fn without_offloads() {
    needs_root!();
    fifty_megabytes(with_and_without_offloads()[1]);
}
