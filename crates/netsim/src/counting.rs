//! An allocator that counts, for tests of what allocates and how much.
#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; every call goes to the system's allocator unchanged"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ops::Sub;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, with counts.
///
/// ```
/// use antiphon_netsim::Counting;
///
/// #[global_allocator]
/// static ALLOCATOR: Counting = Counting;
///
/// let (count, boxed) = Counting::during(|| Box::new(7));
/// assert_eq!((count.allocations, count.bytes, *boxed), (1, 4, 7));
/// ```
#[derive(Debug)]
pub struct Counting;

/// What was allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How often memory was asked for; a buffer that is made larger or smaller counts again.
    pub allocations: usize,
    /// How many bytes were asked for in all these; what was given back is not taken off.
    pub bytes: usize,
}

impl Sub for Count {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            allocations: self.allocations - earlier.allocations,
            bytes: self.bytes - earlier.bytes,
        }
    }
}

thread_local! {
    // Without destructors: they may be used while a thread begins and ends.
    static HERE: Cell<Count> = const { Cell::new(Count { allocations: 0, bytes: 0 }) };
    static FREED_HERE: Cell<usize> = const { Cell::new(0) };
}

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);
static FREED: AtomicUsize = AtomicUsize::new(0);

impl Counting {
    /// What this thread has allocated so far.
    ///
    /// # Panics
    /// If this is not the program's `#[global_allocator]`: a test that counts nothing would always pass.
    pub fn here() -> Count {
        assert_counts();
        HERE.get()
    }

    /// What all threads have allocated so far.
    ///
    /// # Panics
    /// As [`Self::here`].
    pub fn everywhere() -> Count {
        assert_counts();
        Count {
            allocations: ALLOCATIONS.load(Ordering::Relaxed),
            bytes: BYTES.load(Ordering::Relaxed),
        }
    }

    /// The bytes that all threads hold now.
    ///
    /// # Panics
    /// As [`Self::here`].
    pub fn in_use() -> usize {
        let freed = FREED.load(Ordering::Relaxed);
        Self::everywhere().bytes.saturating_sub(freed)
    }

    /// The bytes that this thread holds now: what it has asked for, less what it has given back. Nothing that it holds may
    /// have come from another thread, or gone to one.
    ///
    /// # Panics
    /// As [`Self::here`].
    pub fn in_use_here() -> usize {
        Self::here().bytes.saturating_sub(FREED_HERE.get())
    }

    /// What this thread allocates while `work` runs, and what that gives.
    ///
    /// # Panics
    /// As [`Self::here`].
    pub fn during<T>(work: impl FnOnce() -> T) -> (Count, T) {
        let before = Self::here();
        let result = work();
        (Self::here() - before, result)
    }
}

fn assert_counts() {
    // A program has allocated before it comes to its tests.
    assert!(
        ALLOCATIONS.load(Ordering::Relaxed) > 0,
        "`Counting` is not the global allocator"
    );
}

fn asked(bytes: usize) {
    let mut here = HERE.get();
    here.allocations += 1;
    here.bytes += bytes;
    HERE.set(here);
    ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes, Ordering::Relaxed);
}

fn freed(bytes: usize) {
    FREED_HERE.set(FREED_HERE.get() + bytes);
    FREED.fetch_add(bytes, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches atomics and a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        asked(layout.size());
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        asked(layout.size());
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        freed(layout.size());
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        asked(size);
        freed(layout.size());
        // SAFETY: the caller's contract is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
