//! Arrays of the contract that are mapped into our memory: read and written without system calls,
//! while the program does the same on other CPUs.
//!
//! So every access is atomic, word by word, and no reference to a value is ever made.

use std::marker::PhantomData;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aya::maps::MapData;
use bytemuck::Pod;
use memmap2::{MmapOptions, MmapRaw};

use crate::failure::{Failure, Result};

/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;
const WORD: usize = size_of::<u64>();

/// A mapped `Array<T>`.
#[derive(Debug)]
pub struct Memory<T> {
    mapping: MmapRaw,
    len: u32,
    of: PhantomData<T>,
}

impl<T: Pod> Memory<T> {
    /// How far apart elements are, in bytes: the kernel rounds up to words.
    const STRIDE: usize = size_of::<T>().next_multiple_of(WORD);

    /// Maps all of `map`.
    ///
    /// # Errors
    ///
    /// Where the map is not a mappable array of `T`, or there is no memory.
    pub fn map(map: &MapData, name: &str, writable: bool) -> Result<Self> {
        let failed =
            |what: String| Failure::failed(format!("cannot map {name} into memory: {what}"));
        let info = map.info().map_err(|error| failed(error.to_string()))?;
        if info.value_size() as usize != size_of::<T>() || info.map_flags() & MMAPABLE == 0 {
            return Err(failed(format!(
                "its values have {} bytes and its flags are {:#x}; expected {} and BPF_F_MMAPABLE",
                info.value_size(),
                info.map_flags(),
                size_of::<T>()
            )));
        }
        let len = info.max_entries();
        let mut options = MmapOptions::new();
        options.len(len as usize * Self::STRIDE);
        let fd = map.fd().as_fd().as_raw_fd();
        let mapping = if writable { options.map_raw(fd) } else { options.map_raw_read_only(fd) };
        let mapping = mapping.map_err(|error| failed(error.to_string()))?;
        Ok(Self { mapping, len, of: PhantomData })
    }

    /// How many elements there are.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// The element at `index`, read word by word: what is written meanwhile may be half in it.
    pub fn read(&self, index: u32) -> Option<T> {
        let mut value = T::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut value);
        for (number, chunk) in bytes.chunks_mut(WORD).enumerate() {
            let word = self.word(index, number)?.load(Ordering::Acquire).to_ne_bytes();
            chunk.copy_from_slice(word.get(..chunk.len())?);
        }
        Some(value)
    }

    /// Word `number` of the element at `index`.
    pub fn word(&self, index: u32, number: usize) -> Option<&AtomicU64> {
        let at = self.at(index, number * WORD, WORD)?;
        // SAFETY: `at` checked that these 8 bytes are inside the mapping, which is page-aligned and
        // lives as long as `self`; elements are whole words. Others write only through the kernel's
        // mapping of the same pages, in word or half-word stores.
        Some(unsafe { AtomicU64::from_ptr(at.cast().as_ptr()) })
    }

    /// The half-word at byte `offset`, a multiple of 4, of the element at `index`.
    pub fn half_word(&self, index: u32, offset: usize) -> Option<&AtomicU32> {
        if !offset.is_multiple_of(4) {
            return None;
        }
        let at = self.at(index, offset, 4)?;
        // SAFETY: as in `word`, for 4 bytes at a multiple of 4.
        Some(unsafe { AtomicU32::from_ptr(at.cast().as_ptr()) })
    }

    fn at(&self, index: u32, offset: usize, len: usize) -> Option<NonNull<u8>> {
        if index >= self.len || offset + len > Self::STRIDE {
            return None;
        }
        let start = index as usize * Self::STRIDE + offset;
        // SAFETY: the mapping has len * STRIDE bytes, and both parts were checked against these.
        NonNull::new(unsafe { self.mapping.as_mut_ptr().add(start) })
    }
}
