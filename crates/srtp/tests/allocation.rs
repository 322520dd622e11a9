//! After a source's first packet, neither direction of any profile allocates, and what is forged never does.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use antiphon_crypto::{Provider, ring_provider, rust_provider};
use antiphon_sansio::{Rng, TransmitBuf};
use antiphon_srtp::{Cryptex, ExtensionKey, Profile, Receiver, Sender};

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

/// With the two kinds of header encryption too.
fn contexts(profile: Profile, provider: Provider, cryptex: bool) -> (Sender, Receiver) {
    let (key, salt) = (vec![1; profile.key_len()], vec![2; profile.salt_len()]);
    let mut sender = Sender::new(profile, &key, &salt, provider).unwrap();
    let mut receiver = Receiver::new(profile, &key, &salt, provider).unwrap();
    let extension_key = || ExtensionKey::new(profile, &key, &salt, [5], provider).unwrap();
    sender.set_extension_key(Some(extension_key()));
    receiver.set_extension_key(Some(extension_key()));
    sender.set_cryptex(cryptex);
    receiver.set_cryptex(Cryptex::Accept);
    (sender, receiver)
}

#[test]
fn no_packet_allocates_after_the_first() {
    let before = allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations() - before, 1, "the allocator counts");

    for (provider, cryptex) in [
        (ring_provider(), false),
        (rust_provider(), false),
        (ring_provider(), true),
        (rust_provider(), true),
    ] {
        for profile in Profile::ALL {
            let (mut sender, mut receiver) = contexts(profile, provider, cryptex);
            let mut out = TransmitBuf::new(1500, 1500);
            let mut before = 0;
            for n in 0..200u16 {
                if n == 1 {
                    before = allocations();
                }
                out.clear();
                assert!(out.begin(0, sender.overhead_rtp()));
                out.put_slice(&[0x91, 96]);
                out.put_u16(n.wrapping_sub(100));
                out.put_u64(7);
                out.put_slice(&[1, 2, 3, 4, 0xbe, 0xde, 0, 1, 0x52, 9, 9, 9]);
                out.put_zeros(1000);
                sender.protect_rtp(&mut out).unwrap();
                let range = out.finish();
                let len = receiver.unprotect_rtp_slice(out.bytes_mut(range.clone())).unwrap();
                assert_eq!(len, 1024);
                assert_eq!(out.bytes(range)[16..24], [0xbe, 0xde, 0, 1, 0x52, 9, 9, 9]);

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

/// V7: a million forged packets, SRTP and SRTCP, each from a source of its own, take no memory.
#[test]
fn v07_forged_sources_take_no_memory() {
    for profile in Profile::ALL {
        let (_, mut receiver) = contexts(profile, ring_provider(), false);
        let mut rng = Rng::from_u64(7);
        let (mut packet, before) = ([0; 60], allocations());
        for n in 0..1_000_000 / Profile::ALL.len() + 1 {
            rng.fill(&mut packet);
            packet[0] = 0x80;
            packet[1] = if n % 2 == 0 { 96 } else { 200 };
            let opened = if n % 2 == 0 {
                receiver.unprotect_rtp_slice(&mut packet)
            } else {
                receiver.unprotect_rtcp_slice(&mut packet)
            };
            assert!(opened.is_err());
        }
        assert_eq!(allocations() - before, 0, "{profile:?}");
        assert_eq!(receiver.ssrc_count(), 0);
    }
}
