//! The kernel's helpers that the programs call: one list, each tried on the running kernel rather than
//! guessed from its version. What is missing has a replacement, or loading is refused by its name.

use std::fmt;

use aya::EbpfLoader;
use aya::programs::{ProgramError, ProgramType};
use aya::sys::{BpfHelper, is_helper_supported};

use super::wire::chain;
use crate::failure::{Failure, Result};

/// A helper that the programs call.
#[derive(Clone, Copy, Debug)]
pub struct Helper {
    /// Which one.
    pub helper: BpfHelper,
    /// The first version of Linux that lets classifiers call it.
    pub since: &'static str,
    /// What is done without it; `None` where the programs cannot do without.
    pub otherwise: Option<Otherwise>,
}

/// What is done where a helper is missing.
#[derive(Clone, Copy, Debug)]
pub struct Otherwise {
    /// In words, for people.
    pub text: &'static str,
    /// The programs' byte that says whether the helper is there.
    switch: &'static str,
}

/// Every helper that the programs call; all of them are classifiers.
pub const HELPERS: [Helper; 28] = [
    must(BpfHelper::BPF_FUNC_map_lookup_elem, "3.19"),
    must(BpfHelper::BPF_FUNC_map_update_elem, "3.19"),
    must(BpfHelper::BPF_FUNC_map_delete_elem, "3.19"),
    must(BpfHelper::BPF_FUNC_ktime_get_ns, "4.1"),
    must(BpfHelper::BPF_FUNC_get_prandom_u32, "4.1"),
    must(BpfHelper::BPF_FUNC_skb_store_bytes, "4.1"),
    must(BpfHelper::BPF_FUNC_l4_csum_replace, "4.1"),
    must(BpfHelper::BPF_FUNC_tail_call, "4.2"),
    must(BpfHelper::BPF_FUNC_clone_redirect, "4.2"),
    must(BpfHelper::BPF_FUNC_skb_vlan_pop, "4.3"),
    must(BpfHelper::BPF_FUNC_skb_load_bytes, "4.5"),
    must(BpfHelper::BPF_FUNC_csum_diff, "4.6"),
    must(BpfHelper::BPF_FUNC_skb_change_type, "4.8"),
    must(BpfHelper::BPF_FUNC_skb_change_tail, "4.9"),
    must(BpfHelper::BPF_FUNC_skb_pull_data, "4.9"),
    must(BpfHelper::BPF_FUNC_fib_lookup, "4.18"),
    must(BpfHelper::BPF_FUNC_sk_lookup_udp, "4.20"),
    must(BpfHelper::BPF_FUNC_sk_release, "4.20"),
    must(BpfHelper::BPF_FUNC_map_push_elem, "4.20"),
    must(BpfHelper::BPF_FUNC_map_pop_elem, "4.20"),
    must(BpfHelper::BPF_FUNC_skc_lookup_tcp, "5.2"),
    must(BpfHelper::BPF_FUNC_ringbuf_reserve, "5.8"),
    must(BpfHelper::BPF_FUNC_ringbuf_submit, "5.8"),
    must(BpfHelper::BPF_FUNC_ringbuf_discard, "5.8"),
    must(BpfHelper::BPF_FUNC_redirect_neigh, "5.10"),
    Helper {
        helper: BpfHelper::BPF_FUNC_redirect_peer,
        since: "5.10",
        otherwise: Some(Otherwise {
            text: "packets to a container take the way through its port",
            switch: "HAS_REDIRECT_PEER",
        }),
    },
    Helper {
        helper: BpfHelper::BPF_FUNC_probe_read_kernel,
        since: "5.10, where it is not locked down",
        otherwise: Some(Otherwise {
            text: "every packet has the kernel asked for its route",
            switch: "MAY_READ_KERNEL",
        }),
    },
    Helper {
        helper: BpfHelper::BPF_FUNC_ktime_get_coarse_ns,
        since: "5.11",
        otherwise: Some(Otherwise {
            text: "every packet has the clock asked for the exact time",
            switch: "HAS_COARSE_CLOCK",
        }),
    },
];

const fn must(helper: BpfHelper, since: &'static str) -> Helper {
    Helper { helper, since, otherwise: None }
}

impl Helper {
    /// Does the running kernel let classifiers call it? Tried with a program that does nothing else.
    ///
    /// # Errors
    ///
    /// Where the trial itself fails: without the right to load programs, for instance.
    pub fn is_there(&self) -> std::result::Result<bool, ProgramError> {
        is_helper_supported(ProgramType::SchedClassifier, self.helper)
    }
}

/// Can the programs hand packets to the peers of ports?
#[must_use]
pub fn can_hand_over() -> bool {
    matches!(
        is_helper_supported(ProgramType::SchedClassifier, BpfHelper::BPF_FUNC_redirect_peer),
        Ok(true)
    )
}

impl fmt::Display for Helper {
    /// As `bpf_redirect_neigh (Linux 5.10)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}", self.helper).replacen("BPF_FUNC", "bpf", 1);
        write!(f, "{name} (Linux {})", self.since)
    }
}

/// Those of `helpers` that the running kernel does not have.
///
/// # Errors
///
/// Where a trial itself fails.
pub fn missing(helpers: &[Helper]) -> std::result::Result<Vec<Helper>, ProgramError> {
    let mut missing = Vec::new();
    for helper in helpers {
        if !helper.is_there()? {
            missing.push(*helper);
        }
    }
    Ok(missing)
}

/// Prepares the programs, before they are loaded, for the running kernel: where a helper is missing that
/// has a replacement, they are told.
///
/// # Errors
///
/// Where one is missing that has none: says which, and since when there is one.
pub fn suit(loader: &mut EbpfLoader<'_>, helpers: &[Helper]) -> Result<()> {
    let missing = missing(helpers)
        .map_err(|error| Failure::failed(format!("cannot try the kernel: {}", chain(&error))))?;
    refuse(&missing)?;
    let is_missing = |helper| missing.iter().any(|missing| missing.helper == helper);
    for Helper { helper, otherwise, .. } in helpers {
        if let Some(Otherwise { text, switch }) = otherwise {
            if is_missing(*helper) {
                tracing::info!("this kernel has no {helper:?}: {text}");
            }
            let there = if is_missing(*helper) { &0_u8 } else { &1_u8 };
            loader.override_global(switch, there, true);
        }
    }
    Ok(())
}

fn refuse(missing: &[Helper]) -> Result<()> {
    let needed: Vec<_> = missing
        .iter()
        .filter(|helper| helper.otherwise.is_none())
        .map(ToString::to_string)
        .collect();
    if needed.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "this kernel has no {}: eBPF helpers that bridgefwd's programs call and that nothing replaces. \
         Install a kernel that has them",
        needed.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use object::{Object as _, ObjectSection as _, SectionKind};

    use super::super::object::OBJECT;
    use super::*;

    /// The helpers that an object's instructions call: `call` with no source register is one.
    fn called(object: &[u8]) -> BTreeSet<u32> {
        let file = object::File::parse(object).unwrap();
        let code = file.sections().filter(|section| section.kind() == SectionKind::Text);
        code.flat_map(|section| section.data().unwrap().chunks_exact(8))
            .filter(|instruction| instruction[0] == 0x85 && instruction[1] >> 4 == 0)
            .map(|instruction| u32::from_le_bytes(instruction[4..].try_into().unwrap()))
            .collect()
    }

    #[test]
    fn the_list_is_what_the_programs_call() {
        let ours: BTreeSet<u32> = HELPERS.iter().map(|helper| helper.helper as u32).collect();
        assert_eq!(called(OBJECT), ours);
        assert_eq!(ours.len(), HELPERS.len());
    }

    #[test]
    fn switches_are_the_programs_own() {
        let file = object::File::parse(OBJECT).unwrap();
        for switch in HELPERS.iter().filter_map(|helper| Some(helper.otherwise?.switch)) {
            assert!(
                object::Object::symbols(&file)
                    .any(|symbol| { object::ObjectSymbol::name(&symbol) == Ok(switch) })
            );
        }
    }

    #[test]
    fn what_has_no_replacement_is_refused_by_name() {
        assert!(refuse(&[]).is_ok());
        let [replaced, needed] = [27, 24].map(|place| HELPERS[place]);
        assert!(refuse(&[replaced]).is_ok());
        let text = refuse(&[replaced, needed]).unwrap_err().to_string();
        assert!(text.contains("no bpf_redirect_neigh (Linux 5.10): "), "{text}");
        assert!(!text.contains("coarse"), "{text}");
    }
}
