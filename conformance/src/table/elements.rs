//! One element of a header extension: read as its type, and written from that.

use antiphon_rtp::extension::{
    ColorSpace, CorruptionDetection, Extension, FrameMarking, FrameTrackingId, GenericFrameDescriptor,
    InbandComfortNoise, Kind, Map, NtpTimestamp, Values, VideoContentType, VideoLayersAllocation, VideoTiming,
    dependency,
};
use antiphon_rtp::packet::{Header, Packet};
use antiphon_sansio::Writer;

/// What an element is written as, once it is read; an error if it is not of its form.
pub(super) fn again(
    kind: Kind,
    data: &[u8],
    stream: &mut dependency::Stream,
    repeats: bool,
) -> Result<Vec<u8>, String> {
    let again = match kind {
        Kind::DependencyDescriptor => return descriptor(data, stream, repeats),
        Kind::VideoContentType => typed::<VideoContentType>(kind, data),
        Kind::VideoTiming => typed::<VideoTiming>(kind, data),
        Kind::ColorSpace => typed::<ColorSpace>(kind, data),
        Kind::VideoLayersAllocation => typed::<VideoLayersAllocation>(kind, data),
        Kind::GenericFrameDescriptor | Kind::GenericFrameDescriptor01 => typed::<GenericFrameDescriptor>(kind, data),
        Kind::FrameMarking => typed::<FrameMarking>(kind, data),
        Kind::CorruptionDetection => typed::<CorruptionDetection>(kind, data),
        Kind::InbandComfortNoise => typed::<InbandComfortNoise>(kind, data),
        Kind::VideoFrameTrackingId => typed::<FrameTrackingId>(kind, data),
        Kind::Ntp64 | Kind::Ntp56 => typed::<NtpTimestamp>(kind, data),
        _ => field(kind, data),
    };
    again.ok_or_else(|| "not of its form".to_owned())
}

fn typed<T: Extension>(kind: Kind, data: &[u8]) -> Option<Vec<u8>> {
    let extension = T::parse(kind, data)?;
    let mut buffer = vec![0; extension.written_len()];
    let mut out = Writer::new(&mut buffer);
    extension.write(&mut out).ok()?;
    (out.free() == 0).then(|| buffer.clone())
}

/// One that has a field in [`Values`]: written in a packet of its own, and read and written once more.
fn field(kind: Kind, data: &[u8]) -> Option<Vec<u8>> {
    let mut map = Map::default();
    map.insert(1, kind);
    let block = [&[0x10, 0, 1, data.len() as u8][..], data].concat();
    let words = (block.len() - 2).div_ceil(4);
    let mut packet = vec![0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, words as u8];
    packet.extend_from_slice(&block[2..]);
    packet.resize(16 + words * 4, 0);
    let packet = Packet::parse(&packet).ok()?;
    let values: Values<'_> = packet.values(&map);
    let mut buffer = [0; 400];
    let mut out = Writer::new(&mut buffer);
    Header::default().write(&[], &values, &map, &mut out).ok()?;
    let again = Packet::parse(out.finish()).ok()?;
    again.elements().next().map(|(_, data)| data.to_vec())
}

fn descriptor(data: &[u8], stream: &mut dependency::Stream, repeats: bool) -> Result<Vec<u8>, String> {
    let descriptor = match stream.read(data) {
        Ok(descriptor) => descriptor,
        // A retransmission speaks of the structure of its original, which has another SSRC: its first bytes say enough.
        Err(dependency::DescriptorError::NoStructure) if repeats => return Ok(data.to_vec()),
        Err(error) => return Err(error.to_string()),
    };
    let mut buffer = vec![0; descriptor.written_len(stream.structure())];
    let mut out = Writer::new(&mut buffer);
    let written = descriptor.write(stream.structure(), &mut out);
    written.map_err(|error| error.to_string())?;
    if stream.resolve(&descriptor).is_none() {
        return Err("no template of its number".to_owned());
    }
    Ok(buffer)
}
