//! SRTP of captured Firefox sessions, decrypted with the secrets that NSS logged: DTLS 1.2 and 1.3.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use antiphon_conformance::capture::{self, Datagram};
use antiphon_crypto::{HashAlgorithm, digest, hkdf_expand, ring_provider, tls12_prf};
use antiphon_rtp::packet::{Packet, is_rtcp};
use antiphon_rtp::rtcp;
use antiphon_sansio::{BytesMut, Reader};
use antiphon_srtp::{Error, Profile, Receiver};

/// The label of the exporter (RFC 5764 §4.2).
const LABEL: &[u8] = b"EXTRACTOR-dtls_srtp";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

/// Secrets by label.
fn key_log(session: &Path) -> BTreeMap<String, (Vec<u8>, Vec<u8>)> {
    let text = fs::read_to_string(session.join("keylog-A.txt")).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), (hex(words.next()?), hex(words.next()?))))
        })
        .collect()
}

/// The handshake as far as it is in the clear.
struct Hellos {
    client: Datagram,
    client_random: Vec<u8>,
    server_random: Vec<u8>,
    suite: u16,
    /// The number of the SRTP profile, if ServerHello tells (in DTLS 1.3 EncryptedExtensions does).
    profile: Option<u16>,
}

/// The body of the first handshake message of a kind, from its type to the end of the record.
fn message(datagram: &Datagram, kind: u8) -> Option<&[u8]> {
    let payload = &datagram.payload;
    (payload.len() > 25 && payload[0] == 22 && payload[13] == kind).then(|| &payload[25..])
}

fn hellos(datagrams: &[Datagram], random: &[u8]) -> Hellos {
    let client = datagrams
        .iter()
        .find(|datagram| message(datagram, 1).is_some_and(|body| body[2..34] == *random))
        .expect("the ClientHello of the logged connection");
    let server = datagrams
        .iter()
        .filter(|datagram| datagram.destination == client.source && datagram.source == client.destination)
        .find_map(|datagram| message(datagram, 2))
        .expect("its ServerHello");
    let mut reader = Reader::new(server);
    reader.u16().unwrap();
    let server_random = reader.take(32).unwrap().to_vec();
    reader.vec8().unwrap();
    let suite = reader.u16().unwrap();
    reader.u8().unwrap();
    let mut extensions = Reader::new(reader.vec16().unwrap());
    let mut profile = None;
    while let (Ok(kind), Ok(value)) = (extensions.u16(), extensions.vec16()) {
        if kind == 14 {
            profile = Some(u16::from_be_bytes([value[2], value[3]]));
        }
    }
    Hellos {
        client: client.clone(),
        client_random: random.to_vec(),
        server_random,
        suite,
        profile,
    }
}

/// `client key, server key, client salt, server salt` (RFC 5764 §4.2).
fn receivers(profile: Profile, material: &[u8]) -> [Receiver; 2] {
    let (key, salt) = (profile.key_len(), profile.salt_len());
    [0, 1].map(|end| {
        let master_salt = &material[2 * key + end * salt..][..salt];
        Receiver::new(profile, &material[end * key..][..key], master_salt, ring_provider()).unwrap()
    })
}

/// Decrypts everything between the two ends; gives RTP and RTCP packets accepted, and refused.
fn decrypt(datagrams: &[Datagram], hellos: &Hellos, profile: Profile, material: &[u8]) -> (usize, usize, usize) {
    let mut receivers = receivers(profile, material);
    let (mut media, mut control, mut refused) = (0, 0, 0);
    for datagram in datagrams {
        let forward = (datagram.source, datagram.destination) == (hellos.client.source, hellos.client.destination);
        let backward = (datagram.destination, datagram.source) == (hellos.client.source, hellos.client.destination);
        if !(forward || backward) || datagram.payload.first().is_none_or(|byte| byte >> 6 != 2) {
            continue;
        }
        let receiver = &mut receivers[usize::from(backward)];
        let mut packet = BytesMut::from(&datagram.payload[..]);
        let control_packet = is_rtcp(&packet);
        let opened = if control_packet {
            receiver.unprotect_rtcp(&mut packet)
        } else {
            receiver.unprotect_rtp(&mut packet)
        };
        match opened {
            Ok(()) if control_packet => {
                assert!(
                    rtcp::packets(&packet).all(|packet| packet.is_ok()),
                    "decrypted RTCP parses"
                );
                control += 1;
            }
            Ok(()) => {
                Packet::parse(&packet).expect("decrypted RTP parses");
                media += 1;
                // And what opened once does not open again.
                let again = receiver.unprotect_rtp(&mut BytesMut::from(&datagram.payload[..]));
                assert_eq!(again, Err(Error::Replayed));
            }
            Err(_) => refused += 1,
        }
    }
    (media, control, refused)
}

#[test]
fn dtls_12() {
    let session = capture::fixtures().join("packets/firefox-firefox-dtls12");
    let datagrams = capture::read(&session.join("session.pcap")).unwrap();
    let (random, master) = key_log(&session).remove("CLIENT_RANDOM").unwrap();
    let hellos = hellos(&datagrams, &random);
    let hash = match hellos.suite {
        0xc02b | 0xc02f | 0xcca9 | 0xcca8 => HashAlgorithm::Sha256,
        0xc02c | 0xc030 => HashAlgorithm::Sha384,
        other => panic!("suite {other:04x}"),
    };
    let profile = Profile::from_code(hellos.profile.expect("use_srtp in ServerHello")).unwrap();
    let mut material = vec![0; 2 * (profile.key_len() + profile.salt_len())];
    let seed = [&hellos.client_random[..], &hellos.server_random];
    tls12_prf(ring_provider(), hash, &master, LABEL, &seed, &mut material);
    let (media, control, refused) = decrypt(&datagrams, &hellos, profile, &material);
    println!(
        "DTLS 1.2, {}: {media} RTP, {control} RTCP, {refused} refused",
        profile.name()
    );
    assert!(media > 20 && control > 2, "{media} {control}");
    assert_eq!(refused, 0);
}

/// HKDF-Expand-Label with DTLS 1.3's prefix (RFC 8446 §7.1, RFC 9147 §5.9).
fn expand_label(hash: HashAlgorithm, secret: &[u8], label: &[u8], context: &[u8], len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let lengths = [(len >> 8) as u8, len as u8, 6 + label.len() as u8];
    let info = [&lengths[..], b"dtls13", label, &[context.len() as u8], context];
    hkdf_expand(ring_provider(), hash, secret, &info, &mut out).unwrap();
    out
}

#[test]
fn dtls_13() {
    let session = capture::fixtures().join("packets/firefox-firefox-audio-video-data");
    let datagrams = capture::read(&session.join("session.pcap")).unwrap();
    let (random, exporter) = key_log(&session).remove("EXPORTER_SECRET").unwrap();
    let hellos = hellos(&datagrams, &random);
    let hash = match hellos.suite {
        0x1301 | 0x1303 => HashAlgorithm::Sha256,
        0x1302 => HashAlgorithm::Sha384,
        other => panic!("suite {other:04x}"),
    };
    // RFC 8446 §7.5, with an empty context.
    let empty = digest(hash, &[]);
    let derived = expand_label(hash, &exporter, LABEL, empty.as_bytes(), hash.output_len());
    // use_srtp is encrypted: the profile is the one under which packets are authentic.
    let results: Vec<_> = Profile::ALL
        .into_iter()
        .map(|profile| {
            let len = 2 * (profile.key_len() + profile.salt_len());
            let material = expand_label(hash, &derived, b"exporter", empty.as_bytes(), len);
            (profile, decrypt(&datagrams, &hellos, profile, &material))
        })
        .collect();
    let fits: Vec<_> = results.iter().filter(|(_, (media, ..))| *media > 0).collect();
    println!("DTLS 1.3: {fits:?}");
    let [(_, (media, control, refused))] = fits[..] else {
        panic!("{results:?}")
    };
    assert!(*media > 20 && *control > 2, "{media} {control}");
    assert_eq!(*refused, 0);
}
