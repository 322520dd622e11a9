//! SRTP: what one packet costs at each stack, beside the bare primitives.
//!
//! All but str0m parse the header and check for replay. str0m's context is not public and does neither; its row is the cipher of
//! its default provider used as the context uses it (a zeroed output, the header copied; a reused scratch buffer to open).

use std::hint::black_box;
use std::time::Instant;

use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use antiphon_bench_peers::{Contender, compare};
use antiphon_crypto::{AeadAlgorithm, HashAlgorithm, ring_provider};
use antiphon_srtp::{Profile, Receiver, Sender};
use criterion::{Criterion, criterion_group, criterion_main};
use rtc_srtp::option::srtp_replay_protection;

const ROUND: usize = 128;
const ROUNDS: usize = 401;
const HEADER: usize = 12;
const KEY: [u8; 32] = [0x11; 32];
const SALT: [u8; 14] = [0x22; 14];
const SSRC: u32 = 7;

/// The few calls of Debian's libsrtp2 that this needs.
mod libsrtp {
    use std::ffi::{c_int, c_uint, c_void};

    #[repr(C)]
    pub struct CryptoPolicy {
        pub cipher_type: u32,
        pub cipher_key_len: c_int,
        pub auth_type: u32,
        pub auth_key_len: c_int,
        pub auth_tag_len: c_int,
        pub sec_serv: c_uint,
    }

    #[repr(C)]
    pub struct Ssrc {
        pub kind: c_uint,
        pub value: c_uint,
    }

    #[repr(C)]
    pub struct Policy {
        pub ssrc: Ssrc,
        pub rtp: CryptoPolicy,
        pub rtcp: CryptoPolicy,
        pub key: *mut u8,
        pub keys: *mut *mut c_void,
        pub num_master_keys: std::ffi::c_ulong,
        pub deprecated_ekt: *mut c_void,
        pub window_size: std::ffi::c_ulong,
        pub allow_repeat_tx: c_int,
        pub enc_xtn_hdr: *mut c_int,
        pub enc_xtn_hdr_count: c_int,
        pub next: *mut Policy,
    }

    #[link(name = "srtp2")]
    unsafe extern "C" {
        pub fn srtp_init() -> c_int;
        pub fn srtp_create(session: *mut *mut c_void, policy: *const Policy) -> c_int;
        pub fn srtp_protect(session: *mut c_void, packet: *mut u8, len: *mut c_int) -> c_int;
        pub fn srtp_unprotect(session: *mut c_void, packet: *mut u8, len: *mut c_int) -> c_int;
        pub fn srtp_crypto_policy_set_rtp_default(policy: *mut CryptoPolicy);
        pub fn srtp_crypto_policy_set_aes_gcm_128_16_auth(policy: *mut CryptoPolicy);
    }

    pub struct Session(*mut c_void, [u8; 30]);

    impl Session {
        pub fn new(gcm: bool, inbound: bool) -> Box<Self> {
            let mut key = [0x22; 30];
            key[..16].fill(0x11);
            let mut session = Box::new(Session(std::ptr::null_mut(), key));
            // SAFETY: the policy is fully set before use, and libsrtp copies the key.
            unsafe {
                static INIT: std::sync::Once = std::sync::Once::new();
                INIT.call_once(|| assert_eq!(srtp_init(), 0));
                let mut policy: Policy = std::mem::zeroed();
                policy.ssrc.kind = if inbound { 2 } else { 3 };
                for part in [&mut policy.rtp, &mut policy.rtcp] {
                    if gcm {
                        srtp_crypto_policy_set_aes_gcm_128_16_auth(part);
                    } else {
                        srtp_crypto_policy_set_rtp_default(part);
                    }
                }
                policy.key = session.1.as_mut_ptr();
                policy.window_size = 128;
                assert_eq!(srtp_create(&mut session.0, &policy), 0);
            }
            session
        }

        pub fn protect(&mut self, buffer: &mut [u8], len: usize) -> usize {
            let mut len = len as c_int;
            // SAFETY: callers leave 144 bytes behind the packet, as libsrtp demands.
            let status = unsafe { srtp_protect(self.0, buffer.as_mut_ptr(), &mut len) };
            assert_eq!(status, 0);
            len as usize
        }

        pub fn unprotect(&mut self, buffer: &mut [u8]) -> usize {
            let mut len = buffer.len() as c_int;
            // SAFETY: in place, never longer than it was.
            let status = unsafe { srtp_unprotect(self.0, buffer.as_mut_ptr(), &mut len) };
            assert_eq!(status, 0);
            len as usize
        }
    }
}

fn header(packet: &mut [u8], sequence: u16) {
    packet[..HEADER].copy_from_slice(&[0x80, 96, 0, 0, 0, 0, 0, 1, 0, 0, 0, SSRC as u8]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
}

/// A packet in the clear at the front of a buffer with room for any tag.
fn plain(sequence: u16, payload: usize) -> Vec<u8> {
    let mut packet = vec![0x5a; HEADER + payload + 160];
    header(&mut packet, sequence);
    packet
}

fn nonce(sequence: u16) -> [u8; 12] {
    let mut nonce = [0x22; 12];
    nonce[10..].copy_from_slice(&sequence.to_be_bytes());
    nonce
}

fn rtc(gcm: bool, inbound: bool) -> rtc_srtp::context::Context {
    let provider = rtc_crypto::default_provider().unwrap();
    let replay = inbound.then(|| srtp_replay_protection(128));
    let profile = if gcm {
        rtc_srtp::protection_profile::ProtectionProfile::AeadAes128Gcm
    } else {
        rtc_srtp::protection_profile::ProtectionProfile::Aes128CmHmacSha1_80
    };
    let salt = &SALT[..if gcm { 12 } else { 14 }];
    rtc_srtp::context::Context::new(&KEY[..16], salt, profile, replay, None, provider.crypto()).unwrap()
}

fn webrtc(gcm: bool, inbound: bool) -> webrtc_srtp::context::Context {
    let replay = inbound.then(|| webrtc_srtp::option::srtp_replay_protection(128));
    let profile = if gcm {
        webrtc_srtp::protection_profile::ProtectionProfile::AeadAes128Gcm
    } else {
        webrtc_srtp::protection_profile::ProtectionProfile::Aes128CmHmacSha1_80
    };
    let salt = &SALT[..if gcm { 12 } else { 14 }];
    webrtc_srtp::context::Context::new(&KEY[..16], salt, profile, replay, None).unwrap()
}

fn ours(gcm: bool) -> (Profile, Sender, Receiver) {
    let profile = if gcm {
        Profile::AeadAes128Gcm
    } else {
        Profile::Aes128CmSha1_80
    };
    let salt = &SALT[..profile.salt_len()];
    (
        profile,
        Sender::new(profile, &KEY[..16], salt, ring_provider()).unwrap(),
        Receiver::new(profile, &KEY[..16], salt, ring_provider()).unwrap(),
    )
}

/// Packets of one round, their numbers going on from round to round.
fn batch(next: &mut u16, payload: usize) -> Vec<Vec<u8>> {
    (0..ROUND)
        .map(|_| {
            *next = next.wrapping_add(1);
            plain(*next, payload)
        })
        .collect()
}

fn protect(c: &mut Criterion, gcm: bool, payload: usize) {
    let len = HEADER + payload;
    let mut contenders = Vec::new();

    if gcm {
        let key = ring_provider().aead(AeadAlgorithm::Aes128Gcm, &KEY[..16]).unwrap();
        let mut next = 0;
        contenders.push(Contender::new(
            "the primitive alone: ring AES-128-GCM seal",
            move || {
                let mut packets = batch(&mut next, payload);
                let start = Instant::now();
                for (i, packet) in packets.iter_mut().enumerate() {
                    let (head, body) = packet.split_at_mut(HEADER);
                    let tag = key.seal(&nonce(i as u16), head, &mut body[..payload]);
                    body[payload..payload + 16].copy_from_slice(&tag);
                }
                let took = start.elapsed();
                black_box(packets);
                took
            },
        ));
    } else {
        let mac = ring_provider().mac(HashAlgorithm::Sha1, &KEY[..20]);
        let aes = aes::Aes128::new(&[0x11; 16].into());
        let mut next = 0;
        contenders.push(Contender::new(
            "the primitives alone: AES-CTR, then HMAC-SHA1",
            move || {
                let mut packets = batch(&mut next, payload);
                let start = Instant::now();
                for (i, packet) in packets.iter_mut().enumerate() {
                    let mut iv = [0x22; 16];
                    iv[12..14].copy_from_slice(&(i as u16).to_be_bytes());
                    ctr::CtrCore::<_, ctr::flavors::Ctr32BE>::inner_iv_init(&aes, &iv.into())
                        .apply_keystream_partial((&mut packet[HEADER..len]).into());
                    let tag = mac.sign(&[&packet[..len], &[0; 4]]);
                    packet[len..len + 10].copy_from_slice(&tag.as_bytes()[..10]);
                }
                let took = start.elapsed();
                black_box(packets);
                took
            },
        ));
    }

    let (_, mut sender, _) = ours(gcm);
    let mut next = 0;
    contenders.push(Contender::new("antiphon", move || {
        let mut packets = batch(&mut next, payload);
        let start = Instant::now();
        for packet in &mut packets {
            black_box(sender.protect_rtp_slice(packet, len).unwrap());
        }
        let took = start.elapsed();
        black_box(packets);
        took
    }));

    let mut session = libsrtp::Session::new(gcm, false);
    let mut next = 0;
    contenders.push(Contender::new("libsrtp2 (Debian)", move || {
        let mut packets = batch(&mut next, payload);
        let start = Instant::now();
        for packet in &mut packets {
            black_box(session.protect(packet, len));
        }
        start.elapsed()
    }));

    let mut context = rtc(gcm, false);
    let mut next = 0;
    contenders.push(Contender::new("rtc-srtp", move || {
        let packets = batch(&mut next, payload);
        let start = Instant::now();
        for packet in &packets {
            black_box(context.encrypt_rtp(&packet[..len]).unwrap());
        }
        start.elapsed()
    }));

    let mut context = webrtc(gcm, false);
    let mut next = 0;
    contenders.push(Contender::new("webrtc-srtp", move || {
        let packets = batch(&mut next, payload);
        let start = Instant::now();
        for packet in &packets {
            black_box(context.encrypt_rtp(&packet[..len]).unwrap());
        }
        start.elapsed()
    }));

    let provider = str0m_aws_lc_rs::default_provider();
    if gcm {
        let mut cipher = provider
            .srtp_provider
            .aead_aes_128_gcm()
            .create_cipher([0x11; 16], true);
        let mut next = 0;
        contenders.push(Contender::new(
            "str0m's cipher: no header, no replay check",
            move || {
                let packets = batch(&mut next, payload);
                let start = Instant::now();
                for (i, packet) in packets.iter().enumerate() {
                    let (head, body) = packet[..len].split_at(HEADER);
                    let mut output = vec![0; len + 16];
                    cipher
                        .encrypt(&nonce(i as u16), head, body, &mut output[HEADER..])
                        .unwrap();
                    output[..HEADER].copy_from_slice(head);
                    black_box(output);
                }
                start.elapsed()
            },
        ));
    } else {
        let mut cipher = provider
            .srtp_provider
            .aes_128_cm_sha1_80()
            .create_cipher([0x11; 16], true);
        let mut next = 0;
        contenders.push(Contender::new(
            "str0m's ciphers: no header, no replay check",
            move || {
                let packets = batch(&mut next, payload);
                let start = Instant::now();
                for (i, packet) in packets.iter().enumerate() {
                    let mut iv = [0x22; 16];
                    iv[12..14].copy_from_slice(&(i as u16).to_be_bytes());
                    let mut output = vec![0; len + 16];
                    cipher
                        .encrypt(&iv, &packet[HEADER..len], &mut output[HEADER..])
                        .unwrap();
                    output[..HEADER].copy_from_slice(&packet[..HEADER]);
                    let tag = provider
                        .sha1_hmac_provider
                        .sha1_hmac(&KEY[..20], &[&output[..len], &[0; 4]]);
                    output[len..len + 10].copy_from_slice(&tag[..10]);
                    output.truncate(len + 10);
                    black_box(output);
                }
                start.elapsed()
            },
        ));
    }
    let name = if gcm {
        "AEAD_AES_128_GCM"
    } else {
        "AES_CM_128_HMAC_SHA1_80"
    };
    compare(
        c,
        &format!("srtp protect/{name}/{payload}"),
        ROUND as u64,
        payload as u64,
        ROUNDS,
        contenders,
    );
}

fn unprotect(c: &mut Criterion, gcm: bool, payload: usize) {
    let len = HEADER + payload;
    let (profile, ..) = ours(gcm);
    let protected = len + profile.overhead_rtp();
    // The same sender for everybody: all take the standard's packets.
    let sealed = move |sender: &mut Sender, next: &mut u16| -> Vec<Vec<u8>> {
        let mut packets = batch(next, payload);
        for packet in &mut packets {
            let end = sender.protect_rtp_slice(packet, len).unwrap();
            packet.truncate(end);
        }
        packets
    };
    let mut contenders = Vec::new();

    if gcm {
        let key = ring_provider().aead(AeadAlgorithm::Aes128Gcm, &KEY[..16]).unwrap();
        let mut next = 0;
        contenders.push(Contender::new(
            "the primitive alone: ring AES-128-GCM open",
            move || {
                let mut packets = batch(&mut next, payload);
                for (i, packet) in packets.iter_mut().enumerate() {
                    let (head, body) = packet.split_at_mut(HEADER);
                    let tag = key.seal(&nonce(i as u16), head, &mut body[..payload]);
                    body[payload..payload + 16].copy_from_slice(&tag);
                }
                let start = Instant::now();
                for (i, packet) in packets.iter_mut().enumerate() {
                    let (head, body) = packet[..protected].split_at_mut(HEADER);
                    black_box(key.open(&nonce(i as u16), head, body).ok().unwrap());
                }
                start.elapsed()
            },
        ));
    } else {
        let mac = ring_provider().mac(HashAlgorithm::Sha1, &KEY[..20]);
        let aes = aes::Aes128::new(&[0x11; 16].into());
        let mut next = 0;
        contenders.push(Contender::new(
            "the primitives alone: HMAC-SHA1, then AES-CTR",
            move || {
                let mut packets = batch(&mut next, payload);
                let start = Instant::now();
                for (i, packet) in packets.iter_mut().enumerate() {
                    black_box(mac.verify(&[&packet[..len], &[0; 4]], &[0; 10]));
                    let mut iv = [0x22; 16];
                    iv[12..14].copy_from_slice(&(i as u16).to_be_bytes());
                    ctr::CtrCore::<_, ctr::flavors::Ctr32BE>::inner_iv_init(&aes, &iv.into())
                        .apply_keystream_partial((&mut packet[HEADER..len]).into());
                }
                let took = start.elapsed();
                black_box(packets);
                took
            },
        ));
    }

    let (_, mut sender, mut receiver) = ours(gcm);
    let mut next = 0;
    contenders.push(Contender::new("antiphon", move || {
        let mut packets = sealed(&mut sender, &mut next);
        let start = Instant::now();
        for packet in &mut packets {
            assert_eq!(receiver.unprotect_rtp_slice(packet).unwrap(), len);
        }
        start.elapsed()
    }));

    let (_, mut sender, _) = ours(gcm);
    let mut session = libsrtp::Session::new(gcm, true);
    let mut next = 0;
    contenders.push(Contender::new("libsrtp2 (Debian)", move || {
        let mut packets = sealed(&mut sender, &mut next);
        let start = Instant::now();
        for packet in &mut packets {
            assert_eq!(session.unprotect(packet), len);
        }
        start.elapsed()
    }));

    let (_, mut sender, _) = ours(gcm);
    let mut context = rtc(gcm, true);
    let mut next = 0;
    contenders.push(Contender::new("rtc-srtp", move || {
        let packets = sealed(&mut sender, &mut next);
        let start = Instant::now();
        for packet in &packets {
            assert_eq!(context.decrypt_rtp(packet).unwrap().len(), len);
        }
        start.elapsed()
    }));

    let (_, mut sender, _) = ours(gcm);
    let mut context = webrtc(gcm, true);
    let mut next = 0;
    contenders.push(Contender::new("webrtc-srtp", move || {
        let packets = sealed(&mut sender, &mut next);
        let start = Instant::now();
        for packet in &packets {
            assert_eq!(context.decrypt_rtp(packet).unwrap().len(), len);
        }
        start.elapsed()
    }));

    let provider = str0m_aws_lc_rs::default_provider();
    if gcm {
        let factory = provider.srtp_provider.aead_aes_128_gcm();
        let mut seal = factory.create_cipher([0x11; 16], true);
        let mut open = factory.create_cipher([0x11; 16], false);
        let (mut next, mut scratch) = (0, Vec::new());
        contenders.push(Contender::new(
            "str0m's cipher: no header, no replay check",
            move || {
                let packets: Vec<Vec<u8>> = batch(&mut next, payload)
                    .iter()
                    .enumerate()
                    .map(|(i, packet)| {
                        let (head, body) = packet[..len].split_at(HEADER);
                        let mut output = vec![0; len + 16];
                        seal.encrypt(&nonce(i as u16), head, body, &mut output[HEADER..])
                            .unwrap();
                        output[..HEADER].copy_from_slice(head);
                        output
                    })
                    .collect();
                let start = Instant::now();
                for (i, packet) in packets.iter().enumerate() {
                    let (head, body) = packet.split_at(HEADER);
                    scratch.resize(payload, 0);
                    black_box(open.decrypt(&nonce(i as u16), &[head], body, &mut scratch).unwrap());
                }
                start.elapsed()
            },
        ));
    } else {
        let mut open = provider
            .srtp_provider
            .aes_128_cm_sha1_80()
            .create_cipher([0x11; 16], false);
        let (mut next, mut scratch) = (0, Vec::new());
        contenders.push(Contender::new(
            "str0m's ciphers: no header, no replay check",
            move || {
                let packets = batch(&mut next, payload);
                let start = Instant::now();
                for (i, packet) in packets.iter().enumerate() {
                    let mut iv = [0x22; 16];
                    iv[12..14].copy_from_slice(&(i as u16).to_be_bytes());
                    black_box(
                        provider
                            .sha1_hmac_provider
                            .sha1_hmac(&KEY[..20], &[&packet[..len], &[0; 4]]),
                    );
                    scratch.resize(payload + 16, 0);
                    open.decrypt(&iv, &packet[HEADER..len], &mut scratch).unwrap();
                    black_box(&scratch);
                }
                start.elapsed()
            },
        ));
    }
    let name = if gcm {
        "AEAD_AES_128_GCM"
    } else {
        "AES_CM_128_HMAC_SHA1_80"
    };
    compare(
        c,
        &format!("srtp unprotect/{name}/{payload}"),
        ROUND as u64,
        payload as u64,
        ROUNDS,
        contenders,
    );
}

fn srtp(c: &mut Criterion) {
    for gcm in [true, false] {
        for payload in [1200, 160] {
            protect(c, gcm, payload);
            unprotect(c, gcm, payload);
        }
    }
}

criterion_group!(benches, srtp);
criterion_main!(benches);
