//! The eBPF object, inside the program: one file is all there is to copy to another host.

/// The ELF object with the programs and maps that `contract` names, aligned as its reader needs.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("BRIDGEFWD_EBPF_OBJECT"));
