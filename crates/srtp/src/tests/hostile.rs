//! What an attacker may try; the numbers are those of `docs/vulnerabilities.md`.

use super::*;

/// V7: a million forged packets, each from a source of its own, SRTP and SRTCP by turns: no entry, and the source that is
/// there goes on. That no memory is taken either is in `tests/allocation.rs`.
#[test]
fn v07_forged_sources_leave_no_entry() {
    let mut rng = Rng::from_u64(7);
    let packets = 1_000_000;
    for (part, profile) in Profile::ALL.into_iter().enumerate() {
        let (mut sender, mut receiver) = pair(profile, ring_provider());
        receiver.set_cryptex(if part % 2 == 0 { Cryptex::Off } else { Cryptex::Accept });
        let honest = protect_rtp(&mut sender, &rtp(1, 1, b"honest")).unwrap();
        unprotect_rtp(&mut receiver, &honest).unwrap();
        let mut forged = protect_rtp(&mut sender, &rtp(1, 2, &[0; 30])).unwrap();
        let mut forged_rtcp = protect_rtcp(&mut sender, &rtcp(1)).unwrap();
        let each = packets / Profile::ALL.len() as u64 + 1;
        for n in 0..each {
            let ssrc = rng.array::<4>();
            let sequence = rng.array::<2>();
            let opened = if n % 2 == 0 {
                forged[2..4].copy_from_slice(&sequence);
                forged[8..12].copy_from_slice(&ssrc);
                receiver.unprotect_rtp_slice(&mut forged.clone())
            } else {
                forged_rtcp[4..8].copy_from_slice(&ssrc);
                receiver.unprotect_rtcp_slice(&mut forged_rtcp.clone())
            };
            assert!(opened.is_err());
        }
        assert_eq!(receiver.ssrc_count(), 1);
        let stats = receiver.stats();
        assert_eq!((stats.rtp, stats.rtcp, stats.malformed), (1, 0, 0));
        assert_eq!(stats.unauthentic + stats.replayed, each);
        let next = protect_rtp(&mut sender, &rtp(1, 3, b"still")).unwrap();
        unprotect_rtp(&mut receiver, &next).unwrap();
    }
}

/// V8 at this layer: every combination of padding, extension, CSRC count and length, also with tags that are right.
#[test]
fn v08_header_fields_that_lie_are_refused() {
    for profile in Profile::ALL {
        for first in 0..=255u8 {
            for len in 0..40 {
                let (mut sender, mut receiver) = pair(profile, ring_provider());
                receiver.set_cryptex(Cryptex::Accept);
                let mut packet = vec![0xff; len];
                if let Some(byte) = packet.first_mut() {
                    *byte = first;
                }
                let _ = unprotect_rtp(&mut receiver, &packet);
                let _ = unprotect_rtcp(&mut receiver, &packet);
                assert_eq!(receiver.ssrc_count(), 0);
                // What the sender takes the receiver takes too; with an extension of 65535 words neither does.
                packet.resize(len + 24, 0);
                match sender.protect_rtp_slice(&mut packet, len) {
                    Ok(sent) => {
                        assert!(first >> 6 == 2 && len >= 12 + 4 * usize::from(first & 0x0f) && first & 0x10 == 0);
                        assert!(unprotect_rtp(&mut receiver, &packet[..sent]).is_ok());
                    }
                    Err(error) => assert_eq!(error, Error::Malformed),
                }
            }
        }
    }
}

/// V13: every length up to 64, RTP and RTCP, with each value of the first byte that matters.
#[test]
fn v13_short_packets_do_not_underflow() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = pair(profile, ring_provider());
        for len in 0..64 {
            for first in [0x00, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xff] {
                let mut packet = vec![first; len];
                assert!(unprotect_rtp(&mut receiver, &packet).is_err());
                assert!(unprotect_rtcp(&mut receiver, &packet).is_err());
                packet.resize(len + 20, 0);
                let _ = sender.protect_rtp_slice(&mut packet, len);
                let _ = sender.protect_rtcp_slice(&mut packet, len);
            }
        }
        // The shortest that are whole.
        let (mut sender, mut receiver) = pair(profile, ring_provider());
        let shortest = protect_rtp(&mut sender, &rtp(5, 1, &[])).unwrap();
        assert!(unprotect_rtp(&mut receiver, &shortest[..shortest.len() - 1]).is_err());
        assert_eq!(unprotect_rtp(&mut receiver, &shortest).unwrap().len(), 12);
        let shortest = protect_rtcp(&mut sender, &rtcp(5)[..8]).unwrap();
        assert!(unprotect_rtcp(&mut receiver, &shortest[..shortest.len() - 1]).is_err());
        assert_eq!(unprotect_rtcp(&mut receiver, &shortest).unwrap().len(), 8);
    }
}

/// V13: every packet again, at once and later, RTP and RTCP, also across the wrap, at both ends of the window's range.
#[test]
fn v13_replays_are_refused() {
    for profile in Profile::ALL {
        for window in [MIN_REPLAY_WINDOW, DEFAULT_REPLAY_WINDOW, MAX_REPLAY_WINDOW] {
            let (mut sender, mut receiver) = pair(profile, ring_provider());
            receiver.set_replay_window(window);
            receiver.set_rtcp_replay_window(window);
            let mut sent = Vec::new();
            for n in 0..3_000u16 {
                let packet = protect_rtp(&mut sender, &rtp(7, n.wrapping_sub(1_500), &n.to_be_bytes())).unwrap();
                unprotect_rtp(&mut receiver, &packet).unwrap();
                assert_eq!(unprotect_rtp(&mut receiver, &packet), Err(Error::Replayed));
                sent.push(packet);
            }
            for packet in &sent {
                assert!(
                    unprotect_rtp(&mut receiver, packet).is_err(),
                    "the oldest may be taken for the future, and then do not authenticate"
                );
            }
            assert_eq!(receiver.stats().rtp, 3_000);
            let packets: Vec<_> = (0..200).map(|_| protect_rtcp(&mut sender, &rtcp(7)).unwrap()).collect();
            for packet in &packets {
                unprotect_rtcp(&mut receiver, packet).unwrap();
            }
            for packet in &packets {
                assert_eq!(unprotect_rtcp(&mut receiver, packet), Err(Error::Replayed));
            }
            assert_eq!((receiver.stats().rtcp, receiver.stats().replayed >= 3_200), (200, true));
            assert_eq!(receiver.ssrc_count(), 1);
        }
    }
}

/// RFC 3711 §9.2: the last packets that a key may protect, whatever their sources, and none after them.
#[test]
fn a_key_dies_after_its_last_packet() {
    for profile in Profile::ALL {
        let (mut sender, _) = pair(profile, ring_provider());
        sender.set_packets(MAX_RTP_PACKETS - 2, MAX_RTCP_PACKETS - 2);
        for ssrc in [1, 2] {
            protect_rtp(&mut sender, &rtp(ssrc, 1, b"last")).unwrap();
            protect_rtcp(&mut sender, &rtcp(ssrc)).unwrap();
        }
        for ssrc in [1, 2, 3] {
            assert_eq!(protect_rtp(&mut sender, &rtp(ssrc, 2, b"no")), Err(Error::KeyExhausted));
            assert_eq!(protect_rtcp(&mut sender, &rtcp(ssrc)), Err(Error::KeyExhausted));
        }
    }
}

/// V25: no key and no salt in what is printed.
#[test]
fn v25_debug_shows_no_key() {
    for profile in Profile::ALL {
        let (sender, receiver) = pair(profile, ring_provider());
        let key = (0..profile.key_len() as u8).collect::<Vec<_>>();
        let salt = (100..100 + profile.salt_len() as u8).collect::<Vec<_>>();
        let extension = ExtensionKey::new(profile, &key, &salt, [1, 2], ring_provider()).unwrap();
        let text = format!("{sender:?} {receiver:?} {extension:?}");
        assert!(text.contains(&format!("{profile:?}")));
        for secret in [&key[..8], &salt[..8]] {
            let listed = format!("{secret:?}");
            assert!(!text.contains(listed.trim_matches(['[', ']'])), "{text}");
        }
        assert!(!text.contains("salt") && !text.contains("key"), "{text}");
    }
}
