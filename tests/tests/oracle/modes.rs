//! The modes in which every case is played: one a row, each a test of its own.
//!
//! The modes are chosen so that every two settings of any two columns meet in some row.

use bridgefwd_tests::needs_root;

use crate::compare::{Pair, itself, play};
use crate::{cases, world::Side};

/// How the two routers of a world are set up.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// `bridge-nf-call-iptables` and `-ip6tables`.
    pub bridge_nf: bool,
    /// Offloads of every cable.
    pub offloads: bool,
    /// bridgefwd is attached to the ports of bridges, too.
    pub ports: bool,
    /// bridgefwd is attached by clsact filters rather than TCX links.
    pub clsact: bool,
    /// IPv6 is masqueraded, rather than left as it is.
    pub nat66: bool,
}

/// What is most ordinary: the first row, whose tests are in [`crate::compare`].
pub const PLAIN: Mode =
    Mode { bridge_nf: false, offloads: false, ports: true, clsact: false, nat66: false };

macro_rules! modes {
    ($($name:ident: $bridge_nf:literal $offloads:literal $ports:literal $clsact:literal $nat66:literal;)*) => {
        $(
            mod $name {
                use super::*;

                const MODE: Mode = Mode {
                    bridge_nf: $bridge_nf != 0,
                    offloads: $offloads != 0,
                    ports: $ports != 0,
                    clsact: $clsact != 0,
                    nat66: $nat66 != 0,
                };

                #[test]
                fn every_ipv4_case() {
                    needs_root!();
                    play(Mode { nat66: false, ..MODE }, &cases::v4());
                }

                #[test]
                fn every_ipv6_case() {
                    needs_root!();
                    play(MODE, &cases::v6(MODE.nat66));
                }
            }
        )*
    };
}

modes! {
    //               bridge_nf offloads ports clsact nat66
    with_bridge_netfilter:   1        0     1      0     1;
    by_bridges_alone:        0        0     0      0     1;
    by_clsact:               1        1     1      1     0;
    by_clsact_on_bridges:    1        0     0      1     0;
    with_offloads:           0        1     1      1     1;
    offloads_on_bridges:     1        1     0      0     0;
}

/// What the kernel does twice alike is what can be asked of bridgefwd: no case depends on time, on
/// chance, or on what else the machine does.
#[test]
fn the_kernel_agrees_with_itself() {
    needs_root!();
    kernel_twice(PLAIN);
}

#[test]
fn the_kernel_agrees_with_itself_with_everything_on() {
    needs_root!();
    kernel_twice(Mode { bridge_nf: true, offloads: true, nat66: true, ..PLAIN });
}

fn kernel_twice(mode: Mode) {
    for cases in [cases::v4(), cases::v6(mode.nat66)] {
        itself(&Pair::of(Side::kernel(mode), Side::kernel(mode)), &cases);
    }
}
