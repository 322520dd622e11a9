//! What a forwarder pays for each packet that comes in: one SRTP datagram of 1200 bytes with a RID and transport-wide feedback,
//! through a whole connection, from the datagram to the event. Beside it the bare AES-GCM of the same bytes.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use antiphon_benches::pair::{self, Pair};
use antiphon_crypto::{AeadAlgorithm, HashAlgorithm, hkdf_expand};
use antiphon_peer_connection::{
    BytesMut, Datagram, Direction, Ecn, KeyLog, MediaKind, Output, Path, PeerConnection, RtcConfiguration,
    RtcRtpTransceiverInit, TransmitBuf,
};
use antiphon_srtp::{Profile, Sender};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// The size of each datagram, in bytes.
const SIZE: usize = 1200;
/// Datagrams in one iteration: what one receive call of a busy socket may bring.
const BATCH: usize = 32;
const SSRC: u32 = 0x1234_5678;

/// A connection that receives, and the keys of who sends to it.
struct Receiving {
    pc: PeerConnection,
    sender: Sender,
    path: Path,
    now: Instant,
    out: TransmitBuf,
    /// The header extension ids: MID, RID, transport-wide sequence number.
    ids: [u8; 3],
    payload_type: u8,
    sequence: u16,
}

/// DTLS-SRTP's export of DTLS 1.3 (RFC 8446 §7.5, RFC 5764 §4.2): the key and the salt of the server's side.
fn server_keys(exporter_secret: &[u8]) -> ([u8; 16], [u8; 12]) {
    let hash = match exporter_secret.len() {
        32 => HashAlgorithm::Sha256,
        _ => HashAlgorithm::Sha384,
    };
    let provider = antiphon_crypto::ring_provider();
    let empty = provider.hash(hash).finish();
    let expand = |secret: &[u8], label: &str, len: usize| {
        let label = format!("dtls13{label}");
        let context = empty.as_bytes();
        let lengths = ((len as u16).to_be_bytes(), [label.len() as u8], [context.len() as u8]);
        let info: [&[u8]; 5] = [&lengths.0, &lengths.1, label.as_bytes(), &lengths.2, context];
        let mut out = vec![0; len];
        hkdf_expand(provider, hash, secret, &info, &mut out).unwrap();
        out
    };
    let derived = expand(exporter_secret, "EXTRACTOR-dtls_srtp", exporter_secret.len());
    let material = expand(&derived, "exporter", 2 * (16 + 12));
    (
        material[16..32].try_into().unwrap(),
        material[44..56].try_into().unwrap(),
    )
}

/// The offer of a sender of one simulcast layer.
fn with_layer(offer: &str) -> String {
    let lines = offer.split_inclusive("\r\n").filter(|line| !line.starts_with("a=ssrc"));
    lines.collect::<String>() + "a=rid:h send\r\na=simulcast:send h\r\n"
}

fn without_layer(answer: &str) -> String {
    let layer = |line: &str| line.starts_with("a=rid:") || line.starts_with("a=simulcast:");
    answer.split_inclusive("\r\n").filter(|line| !layer(line)).collect()
}

fn extension_id(sdp: &str, uri: &str) -> u8 {
    let line = sdp
        .lines()
        .find(|line| line.starts_with("a=extmap:") && line.contains(uri));
    let id = line.and_then(|line| line["a=extmap:".len()..].split([' ', '/']).next());
    id.unwrap_or_else(|| panic!("{uri} is not negotiated")).parse().unwrap()
}

impl Receiving {
    fn new(output: Output) -> Self {
        let begin = Instant::now();
        let secret = Arc::new(Mutex::new(Vec::new()));
        let configuration = || {
            let mut configuration = RtcConfiguration::default();
            configuration.settings.receive_output = output;
            let to = secret.clone();
            configuration.settings.key_log = Some(KeyLog::new(move |line| {
                let mut words = line.split(' ');
                if words.next() == Some("EXPORTER_SECRET") {
                    let hex = words.nth(1).unwrap();
                    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
                    *to.lock().unwrap() = (0..hex.len()).step_by(2).map(byte).collect();
                }
            }));
            configuration
        };
        let mut pair = Pair::new([configuration(), configuration()], begin, 0);
        let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
        pair.peers[0].add_transceiver(MediaKind::Video, init).unwrap();
        let sdp = pair.describe(begin, [with_layer, without_layer]);
        let (mut now, mut out) = (begin, pair::buffer());
        pair.connect(&mut now, &mut out);
        let [_, pc] = pair.peers;
        let payload_type = sdp.split("m=video 9 UDP/TLS/RTP/SAVPF ").nth(1);
        let payload_type = payload_type.and_then(|rest| rest.split([' ', '\r']).next());
        let (key, salt) = server_keys(&secret.lock().unwrap());
        Self {
            pc,
            sender: Sender::new(Profile::AeadAes128Gcm, &key, &salt, antiphon_crypto::ring_provider()).unwrap(),
            path: pair::path_from(0),
            now,
            out,
            ids: ["sdes:mid", "sdes:rtp-stream-id", "transport-wide-cc"].map(|uri| extension_id(&sdp, uri)),
            payload_type: payload_type.expect("video is accepted").parse().unwrap(),
            sequence: 0,
        }
    }

    /// The next packet: VP8, ten packets a frame.
    fn packet(&mut self) -> Vec<u8> {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let (first, last) = (sequence.is_multiple_of(10), sequence % 10 == 9);
        let [mid, rid, transport] = self.ids;
        let [high, low] = sequence.to_be_bytes();
        let timestamp = 3000 * u32::from(sequence / 10);
        let mut packet = vec![0x90, self.payload_type | u8::from(last) << 7, high, low];
        packet.extend(timestamp.to_be_bytes());
        packet.extend(SSRC.to_be_bytes());
        packet.extend([0xbe, 0xde, 0, 2]);
        packet.extend([mid << 4, b'0', rid << 4, b'h', transport << 4 | 1, high, low, 0]);
        // The payload descriptor (RFC 7741 §4.2); then what would be the tag of a key frame.
        packet.extend([u8::from(first) << 4, 0]);
        packet.resize(SIZE - 16, 0x55);
        packet.resize(SIZE, 0);
        let len = self.sender.protect_rtp_slice(&mut packet, SIZE - 16).unwrap();
        assert_eq!(len, SIZE);
        packet
    }

    /// The next batch; what is due meanwhile (feedback, reports) is done here and not measured.
    fn batch(&mut self) -> Vec<BytesMut> {
        self.now += Duration::from_millis(10);
        self.pc.handle_timeout(self.now);
        while self.pc.poll_transmit(self.now, &mut self.out).is_some() {
            self.out.clear();
        }
        while self.pc.poll_event().is_some() {}
        // As from a socket: the datagrams of one receive call share an allocation.
        let mut arena = BytesMut::with_capacity(BATCH * SIZE);
        (0..BATCH).for_each(|_| arena.extend_from_slice(&self.packet()));
        (0..BATCH).map(|_| arena.split_to(SIZE)).collect()
    }

    fn receive(&mut self, batch: Vec<BytesMut>) -> usize {
        let mut events = 0;
        for data in batch {
            let (path, ecn) = (self.path, Ecn::NotEct);
            self.pc.handle_datagram(self.now, Datagram { path, ecn, data });
            while let Some(event) = self.pc.poll_event() {
                black_box(event);
                events += 1;
            }
        }
        events
    }
}

fn receive(c: &mut Criterion) {
    let mut group = c.benchmark_group("receive");
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, output) in [("packets", Output::Packets), ("frames", Output::Frames)] {
        let receiving = std::cell::RefCell::new(Receiving::new(output));
        let batch = receiving.borrow_mut().batch();
        receiving.borrow_mut().receive(batch);
        let batch = receiving.borrow_mut().batch();
        let events = receiving.borrow_mut().receive(batch);
        let expected = if output == Output::Packets { BATCH } else { BATCH / 10 };
        assert!(events >= expected, "{name}: {events} events of {BATCH} packets");
        group.bench_function(name, |b| {
            b.iter_batched(
                || receiving.borrow_mut().batch(),
                |batch| receiving.borrow_mut().receive(batch),
                BatchSize::PerIteration,
            );
        });
    }
    group.bench_function("bare_aes_128_gcm", |b| {
        let key = antiphon_crypto::ring_provider()
            .aead(AeadAlgorithm::Aes128Gcm, &[7; 16])
            .unwrap();
        let mut sealed = vec![0x55; SIZE];
        let (header, rest) = sealed.split_at_mut(24);
        let (body, tag) = rest.split_last_chunk_mut::<16>().unwrap();
        *tag = key.seal(&[0; 12], header, body);
        b.iter_batched(
            || (0..BATCH).map(|_| BytesMut::from(&sealed[..])).collect::<Vec<_>>(),
            |batch| {
                for mut data in batch {
                    let (header, body) = data.split_at_mut(24);
                    black_box(key.open(&[0; 12], header, body).unwrap());
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, receive);
criterion_main!(benches);
