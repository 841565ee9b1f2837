//! How much memory the process has allocated, and how freed memory goes back to the system.
//!
//! The binary counts every allocation (as redis does in zmalloc), so that the sum includes
//! everything that is allocated, and reading it costs only a load and an addition. This module
//! never decides whether that is too much: `node` does.
//!
//! This is one of the two files with `unsafe` in them (`tests/tidy` checks that). There are two
//! reasons for it:
//!
//! - An allocator is an unsafe trait. It is sound because every call is passed on to the system's
//!   allocator unchanged. A count in safe code, through a library, costs two locked instructions
//!   for each allocation and each release; this one costs none.
//! - `malloc_trim` and `mallopt` are functions of the C library. They have no arguments that could
//!   be wrong. Without the first one glibc returns only what is free at the end of its heap, and
//!   most of what thousands of sessions took stays resident after they have closed.
#![allow(unsafe_code, reason = "see above: without it memory that was freed stays with the process")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

/// A thread adds its bytes to the sum once it has allocated or freed this many, and when it ends.
/// So [`held`] can be wrong by this much for each other thread that runs.
const REPORT_BYTES: usize = 64 * 1024;

/// What all threads have reported.
static REPORTED: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    /// What this thread has allocated and not reported, less what it has freed; or [`OUTSIDE`]. A
    /// value without a destructor is read in one instruction, so the one below has it.
    static UNREPORTED: Cell<isize> = const { Cell::new(OUTSIDE) };
    static AT_END: AtEnd = const { AtEnd };
}

/// The thread has not allocated anything yet, or has made its last report. With any change added,
/// this is still far from what a thread keeps unreported.
const OUTSIDE: isize = isize::MIN / 2;

/// Makes the last report of a thread.
struct AtEnd;

impl Drop for AtEnd {
    fn drop(&mut self) {
        report(UNREPORTED.replace(OUTSIDE));
    }
}

fn report(change: isize) {
    REPORTED.fetch_add(change, Ordering::Relaxed);
}

/// The system's allocator, counted. To be declared as the global allocator of a program; in a
/// program that does not, [`held`] is 0.
#[derive(Debug)]
pub struct Counted;

/// Bytes that are allocated, including what the allocator needs for itself: exact for this thread,
/// and within 64 KiB for each other one that runs.
#[must_use]
pub fn held() -> usize {
    let unreported = Some(UNREPORTED.get()).filter(|unreported| *unreported != OUTSIDE);
    usize::try_from(REPORTED.load(Ordering::Relaxed) + unreported.unwrap_or(0)).unwrap_or(0)
}

/// Must be called once, before much is allocated. From then on small pieces of memory are merged
/// with free neighbors as soon as they are freed. Otherwise glibc puts this off for many of them
/// until the next [`give_back`], which then takes long. With another C library it does nothing.
pub fn prepare() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            safe fn mallopt(param: std::ffi::c_int, value: std::ffi::c_int) -> std::ffi::c_int;
        }
        const M_MXFAST: std::ffi::c_int = 1;
        mallopt(M_MXFAST, 0);
    }
}

/// Gives freed memory back to the system, as far as complete pages of it are free. The
/// more was freed, the longer it takes. With another C library than glibc it does nothing.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        malloc_trim(0);
    }
}

/// Bytes that glibc uses for an allocation of this size: 8 more for the size word, rounded up to a
/// multiple of 16, at least 32.
const fn taken(size: usize) -> isize {
    // No layout is so large that this overflows.
    let taken = ((size + 8 + 15) & !15).cast_signed();
    if taken < 32 { 32 } else { taken }
}

/// Notes a change, unless it must be reported. Returns whether it did.
#[inline(always)]
fn note_only(change: isize) -> bool {
    let sum = UNREPORTED.get() + change;
    let noted = sum.unsigned_abs() < REPORT_BYTES;
    if noted {
        UNREPORTED.set(sum);
    }
    noted
}

#[inline]
fn note(change: isize) {
    if !note_only(change) {
        note_and_report(change);
    }
}

#[cold]
#[inline(never)]
fn note_and_report(change: isize) {
    // From the first call on, the thread makes a last report. It also frees some memory after that.
    if AT_END.try_with(|_| ()).is_err() {
        return report(change);
    }
    match UNREPORTED.replace(0) {
        OUTSIDE => report(change),
        unreported => report(unreported + change),
    }
}

/// The system's allocator calls `malloc` for all that needs at most this alignment.
const MALLOC_ALIGN: usize = 16;

#[cold]
#[inline(never)]
unsafe fn alloc_rarely(layout: Layout) -> *mut u8 {
    note(taken(layout.size()));
    unsafe { System.alloc(layout) }
}

#[cold]
#[inline(never)]
unsafe fn dealloc_rarely(at: *mut u8, layout: Layout) {
    note(-taken(layout.size()));
    unsafe { System.dealloc(at, layout) }
}

unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // So that the usual case needs no registers of its caller: `malloc` aligns enough, and
        // nothing is reported.
        if layout.align() > MALLOC_ALIGN || layout.align() > layout.size() || !note_only(taken(layout.size())) {
            return unsafe { alloc_rarely(layout) };
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(taken(layout.size()));
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if !note_only(-taken(layout.size())) {
            return unsafe { dealloc_rarely(at, layout) };
        }
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(taken(size) - taken(layout.size()));
        unsafe { System.realloc(at, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_is_counted_as_what_glibc_takes_for_it() {
        assert_eq!([0, 1, 24, 25, 40, 41, 1 << 20].map(taken), [32, 32, 32, 48, 48, 64, (1 << 20) + 16]);
    }

    #[test]
    fn every_byte_is_in_the_sum_of_all_threads() {
        let before = held();
        for _ in 0..10 {
            note(taken(REPORT_BYTES / 3));
        }
        assert_eq!(held() - before, 10 * taken(REPORT_BYTES / 3).unsigned_abs());
        std::thread::spawn(|| (0..10).for_each(|_| note(-taken(REPORT_BYTES / 3)))).join().unwrap();
        assert_eq!(held(), before, "a thread that has ended holds nothing back");
    }
}
