//! The send path allocates nothing per packet once its ring exists.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_media::{Config, Kind};
use antiphon_sansio::TransmitBuf;
use common::*;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: forwards to the system allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

#[test]
fn sending_allocates_nothing_per_packet() {
    let mut pair = Pair::new(1, Config::default());
    let id = pair.ends[0]
        .add_sender(pair.now, sender("v", Kind::Video, 1000, vp8(true, true)))
        .unwrap();
    let mut out = TransmitBuf::new(64 * 1024, 1300);
    let frame = picture(0, 20_000, true);
    let mut packets = 0;
    let mut before = 0;
    for round in 0..600 {
        // The first rounds fill the ring and the history.
        if round == 300 {
            before = ALLOCATIONS.load(Ordering::Relaxed);
            packets = 0;
        }
        pair.ends[0].send_frame(pair.now, id, frame.clone()).unwrap();
        for _ in 0..40 {
            pair.now += Duration::from_millis(1);
            pair.ends[0].handle_timeout(pair.now);
            out.clear();
            while pair.ends[0].poll_transmit(pair.now, &mut out).is_some() {
                packets += 1;
                out.finish();
            }
        }
    }
    let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert!(packets > 5000);
    assert_eq!(allocated, 0, "for {packets} packets");
}
