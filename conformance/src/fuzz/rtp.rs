//! RTP and RTCP that are read, written, and read again.

use antiphon_rtp::extension::dependency::{DependencyDescriptor, Rewriter, Stream};
use antiphon_rtp::extension::{Kind, Map};
use antiphon_rtp::packet::Packet;
use antiphon_rtp::rtcp;
use antiphon_sansio::Writer;

/// A packet, whose header is written from what was read of it, under identifiers of either form.
pub(super) fn roundtrip_rtp(data: &[u8]) {
    let Ok(packet) = Packet::parse(data) else { return };
    for without in [Kind::TransportCc, Kind::TransportCc2] {
        let mut map = Map::default();
        // 15 is no identifier. A description has one of the two numbers of packets.
        for (id, kind) in (1..15).chain(16..).zip(Kind::ALL).filter(|(_, kind)| *kind != without) {
            map.insert(id, kind);
        }
        let values = packet.values(&map);
        let csrcs: Vec<u32> = packet.csrcs().collect();
        let mut buffer = vec![0; 2 * data.len() + 100];
        let mut out = Writer::new(&mut buffer);
        packet.header.write(&csrcs, &values, &map, &mut out).expect("it fits");
        out.put_slice(packet.payload()).expect("it fits");
        let again = Packet::parse(out.finish()).expect("our own packet parses");
        assert_eq!((again.header, again.payload()), (packet.header, packet.payload()));
        assert!(again.csrcs().eq(csrcs));
        assert_eq!(again.values(&map), values);
    }
}

/// RTCP, each packet written from what was read of it: once written it is written the same for ever.
pub(super) fn roundtrip_rtcp(data: &[u8]) {
    let mut packets = rtcp::packets(data);
    while let Some(packet) = packets.next() {
        let Ok(packet) = packet else { continue };
        let mut buffer = vec![0; data.len() + 300];
        let mut out = Writer::new(&mut buffer);
        packet
            .write(packets.padding(), &mut out)
            .expect("no longer than it came, but for padding");
        out.truncate(0);
        packet.write(0, &mut out).expect("no longer than it came");
        let written = out.finish();
        let mut again = rtcp::packets(written);
        let read = again.next().expect("a packet").expect("our own packet parses");
        assert!(again.next().is_none());
        let mut buffer = vec![0; data.len() + 300];
        let mut out = Writer::new(&mut buffer);
        read.write(0, &mut out).expect("it fits");
        assert_eq!(out.finish(), written);
    }
}

/// Descriptors of one stream, each after its length, and what one receiver gets of them.
pub(super) fn decode_dependency_descriptor(data: &[u8]) {
    let (mut stream, mut rewriter, mut receiver) = (Stream::default(), Rewriter::default(), Stream::default());
    let mut rest = data;
    while let Some((len, behind)) = rest.split_first() {
        let (descriptor, behind) = behind.split_at(behind.len().min(usize::from(*len)));
        rest = behind;
        let Ok(read) = stream.read(descriptor) else { continue };
        let newest = stream.structure();
        let _ = format!("{:?}", stream.resolve(&read));
        // One that came late may be of a structure that is not the newest, and then has its own.
        let mut buffer = vec![0; 1000];
        let mut out = Writer::new(&mut buffer);
        read.write(newest, &mut out).expect("it fits");
        let written = out.finish();
        assert_eq!(written.len(), read.written_len(newest));
        assert_eq!(DependencyDescriptor::parse(written, newest).as_ref(), Ok(&read));
        rewriter.select(u32::from(*len) * 0x0101_0101);
        let mut buffer = vec![0; 1000];
        let mut out = Writer::new(&mut buffer);
        rewriter.rewrite(&read, &stream, &mut out).expect("it fits");
        if let Ok(got) = receiver.read(out.finish()) {
            assert_eq!(got.frame, read.frame);
        }
    }
}
