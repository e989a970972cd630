//! The kernel's helpers, tried: what is missing is replaced where it can be, else refused by its name.

use aya::EbpfLoader;
use aya::sys::BpfHelper;
use bridgefwd::datapath::helpers::{HELPERS, Helper, missing, suit};
use bridgefwd_common::Reason;
use bridgefwd_common::contract::NatMode;
use bridgefwd_tests::needs_root;
use bridgefwd_tests::packets::Packet;
use bridgefwd_tests::program::Program;

use crate::bench::{A, Bench, bench};

/// No kernel has it: its number is the one after the last.
const NOWHERE: BpfHelper = BpfHelper::__BPF_FUNC_MAX_ID;

#[test]
fn those_that_no_kernel_lets_a_classifier_call_are_missing() {
    needs_root!();
    let nowhere = Helper { helper: NOWHERE, since: "99.1", otherwise: None };
    // There, but for another kind of program.
    let others = Helper { helper: BpfHelper::BPF_FUNC_xdp_adjust_head, since: "4.10", ..nowhere };
    let tried = [HELPERS[0], nowhere, HELPERS[1], others];
    let missing: Vec<_> = missing(&tried).unwrap().iter().map(|helper| helper.helper).collect();
    assert_eq!(missing, [nowhere.helper, others.helper]);
    let refusal = suit(&mut EbpfLoader::new(), &tried).unwrap_err().to_string();
    assert!(refusal.contains("bpf_xdp_adjust_head (Linux 4.10): "), "{refusal}");
    assert!(refusal.contains("(Linux 99.1), "), "{refusal}");
}

#[test]
fn without_those_that_are_replaced_packets_go_on() {
    needs_root!();
    let poor = HELPERS.map(|helper| match helper.otherwise {
        None => helper,
        Some(_) => Helper { helper: NOWHERE, ..helper },
    });
    bench(|bench| {
        bench.program = Bench::managing(bench.router, Program::load_with(64, &poor));
        bench.allow(NatMode::Masquerade, None);
        assert!(bench.program.keep_ways().is_err(), "ways are kept, though nothing tells changes");
        let packet = Packet::udp(bench.a().at(10_000), bench.b().at(53));
        for reason in [Reason::FlowCreated, Reason::Forwarded] {
            assert_eq!(bench.send(A, &packet).reason, reason);
        }
    });
}
