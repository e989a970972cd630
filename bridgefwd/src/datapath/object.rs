//! The eBPF objects, inside the program: one file is all there is to copy to another host.

/// The ELF object with the programs and maps that `contract` names, aligned as its reader needs.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("BRIDGEFWD_EBPF_OBJECT"));

/// The one that tells what the kernel drops, while somebody traces.
pub static DROPS_OBJECT: &[u8] = aya::include_bytes_aligned!(env!("BRIDGEFWD_DROPS_OBJECT"));
