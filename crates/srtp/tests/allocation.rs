//! After a source's first packet, neither direction of any profile allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use antiphon_crypto::{ring_provider, rust_provider};
use antiphon_sansio::TransmitBuf;
use antiphon_srtp::{Profile, Receiver, Sender};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator unchanged; counting touches a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn no_packet_allocates_after_the_first() {
    let before = allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations() - before, 1, "the allocator counts");

    for provider in [ring_provider(), rust_provider()] {
        for profile in Profile::ALL {
            let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
            let mut sender = Sender::new(profile, &key, &salt, provider).unwrap();
            let mut receiver = Receiver::new(profile, &key, &salt, provider).unwrap();
            let mut out = TransmitBuf::new(1500, 1500);
            let mut before = 0;
            for n in 0..200u16 {
                if n == 1 {
                    before = allocations();
                }
                out.clear();
                assert!(out.begin(0, sender.overhead_rtp()));
                out.put_slice(&[0x80, 96]);
                out.put_u16(n.wrapping_sub(100));
                out.put_u64(7);
                out.put_zeros(1000);
                sender.protect_rtp(&mut out).unwrap();
                let range = out.finish();
                let len = receiver.unprotect_rtp_slice(out.bytes_mut(range)).unwrap();
                assert_eq!(len, 1012);

                out.clear();
                assert!(out.begin(0, sender.overhead_rtcp()));
                out.put_slice(&[0x80, 201, 0, 1, 0, 0, 0, 7]);
                sender.protect_rtcp(&mut out).unwrap();
                let range = out.finish();
                assert_eq!(receiver.unprotect_rtcp_slice(out.bytes_mut(range)), Ok(8));
            }
            assert_eq!(allocations() - before, 0, "{profile:?} with {}", provider.name());
        }
    }
}
