//! Where the pieces of fragmented packets wait until all are there.
//!
//! Bounded twice. The room is cut into compartments, and a source, by its bridge port or its address,
//! has one of them: a flood fills its own. And a piece waits no longer than the kernel lets one wait.
//! None of this is pinned: a new load of the program begins empty.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray};
use bridgefwd_common::contract::{FRAGMENT_TIMEOUT_NS, FragmentKey};
use bridgefwd_common::decide::reassembly::Datagram;

use crate::flows::now_ns;
use crate::scratch::Scratch;

/// Compartments.
const COMPARTMENTS: u32 = 16;
/// Pieces that a compartment has room for.
const PER_COMPARTMENT: u32 = 256;
/// Bytes of the largest frame that can wait; jumbo frames have 9014.
pub const MAX_FRAME: usize = 9216;
/// Bytes of the frames that there is most room for.
pub const SMALL_FRAME: usize = 2048;
/// Larger ones, for each compartment.
const LARGE_PER_COMPARTMENT: u32 = 16;
/// How many places are tried for a piece.
const ATTEMPTS: u32 = 16;
/// Set in the number of a place for large frames.
const LARGE: u32 = 1 << 15;

/// One place for a frame of up to `N` bytes.
#[repr(C)]
pub struct Place<const N: usize> {
    /// Until when it is taken: `CLOCK_MONOTONIC`, ns.
    pub until_ns: u64,
    /// Whose it is: two CPUs that take one place at once do not get each other's piece.
    pub tag: u32,
    /// Bytes of the frame.
    pub len: u32,
    /// The frame, from its Ethernet header on.
    pub frame: [u8; N],
}

/// A datagram of which pieces are waiting.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Waiting {
    /// Until when.
    pub until_ns: u64,
    /// Which pieces there are.
    pub datagram: Datagram,
    _zero: u32,
}

#[map]
static SMALL_PLACES: Array<Place<SMALL_FRAME>> =
    Array::with_max_entries(COMPARTMENTS * PER_COMPARTMENT, 0);
#[map]
static LARGE_PLACES: Array<Place<MAX_FRAME>> =
    Array::with_max_entries(COMPARTMENTS * LARGE_PER_COMPARTMENT, 0);
/// Where each compartment's search goes on: small ones, then large ones.
#[map]
static NEXT_PLACES: Array<u32> = Array::with_max_entries(2 * COMPARTMENTS, 0);
/// More than pieces can wait, so that nobody's datagram is forgotten for another's.
#[map]
static DATAGRAMS: LruHashMap<FragmentKey, Waiting> =
    LruHashMap::with_max_entries(2 * COMPARTMENTS * PER_COMPARTMENT, 0);
/// An empty one, to begin with: too large for the stack.
#[map]
static NO_PIECES: PerCpuArray<Waiting> = PerCpuArray::with_max_entries(1, 0);
/// Who works on a datagram at this moment.
#[map]
static COLLECTING: HashMap<FragmentKey, u32> = HashMap::with_max_entries(1024, 0);

/// Has this datagram to ourselves, or not: its pieces mostly come one after the other, on one CPU.
#[inline(always)]
pub fn lock(key: &FragmentKey) -> bool {
    COLLECTING.insert(key, 1, u64::from(aya_ebpf::bindings::BPF_NOEXIST)).is_ok()
}

/// Lets others have it.
#[inline(always)]
pub fn unlock(key: &FragmentKey) {
    let _ = COLLECTING.remove(key);
}

/// The datagram, empty if there was none; for whoever has locked it.
#[inline(always)]
pub fn datagram(key: &FragmentKey) -> Option<&'static mut Waiting> {
    if let Some(waiting) = DATAGRAMS.get_ptr_mut(key) {
        // SAFETY: the kernel keeps the value while the program runs, and we hold the lock; should it
        // be forgotten meanwhile, its pieces are never collected.
        let waiting = unsafe { &mut *waiting };
        if now_ns() < waiting.until_ns {
            return Some(waiting);
        }
    }
    // SAFETY: nobody writes it.
    let empty = unsafe { &*NO_PIECES.get_ptr(0)? };
    DATAGRAMS.insert(key, empty, 0).ok()?;
    // SAFETY: as above.
    let waiting = unsafe { &mut *DATAGRAMS.get_ptr_mut(key)? };
    waiting.until_ns = now_ns() + FRAGMENT_TIMEOUT_NS;
    Some(waiting)
}

/// Forgets the datagram; its places become free by themselves.
#[inline(always)]
pub fn forget(key: &FragmentKey) {
    let _ = DATAGRAMS.remove(key);
}

/// Takes a place for a frame of `len` bytes; `None` where its compartment is full.
#[inline(always)]
pub fn take_place(scratch: &Scratch, len: u32) -> Option<u32> {
    let compartment = compartment_of(scratch);
    if len as usize <= SMALL_FRAME {
        let place = search(compartment, PER_COMPARTMENT, compartment, |place| {
            let entry = SMALL_PLACES.get_ptr(place)?;
            // SAFETY: array elements never move or go; a plain word.
            Some(unsafe { (*entry).until_ns })
        })?;
        return Some(place);
    }
    let place = search(compartment, LARGE_PER_COMPARTMENT, COMPARTMENTS + compartment, |place| {
        let entry = LARGE_PLACES.get_ptr(place)?;
        // SAFETY: as above.
        Some(unsafe { (*entry).until_ns })
    })?;
    Some(place | LARGE)
}

#[inline(always)]
fn search(
    compartment: u32,
    size: u32,
    cursor: u32,
    until_ns: impl Fn(u32) -> Option<u64>,
) -> Option<u32> {
    let next = NEXT_PLACES.get_ptr_mut(cursor)?;
    let now = now_ns();
    for _ in 0..ATTEMPTS {
        // SAFETY: an array element; of two CPUs that move it at once the last one wins.
        let turn = unsafe { *next };
        // SAFETY: as above.
        unsafe { *next = turn.wrapping_add(1) };
        let place = compartment * size + (turn & (size - 1));
        if until_ns(place)? <= now {
            return Some(place);
        }
    }
    None
}

/// Small: the number of a place.
#[inline(always)]
pub const fn is_small(place: u32) -> bool {
    place & LARGE == 0
}

/// The place of that number for small frames.
#[inline(always)]
pub fn small(place: u32) -> Option<*mut Place<SMALL_FRAME>> {
    SMALL_PLACES.get_ptr_mut(place & (LARGE - 1))
}

/// The place of that number for large frames.
#[inline(always)]
pub fn large(place: u32) -> Option<*mut Place<MAX_FRAME>> {
    LARGE_PLACES.get_ptr_mut(place & (LARGE - 1))
}

#[inline(always)]
fn compartment_of(scratch: &Scratch) -> u32 {
    let [a, b, c, d] = scratch.packet.ip.src.words();
    let source = if scratch.port == 0 { a ^ b ^ c ^ d } else { scratch.port };
    source.wrapping_mul(0x9e37_79b1) >> 28 & (COMPARTMENTS - 1)
}
