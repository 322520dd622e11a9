//! VP9: the configuration that containers keep (`vpcC`, VP Codec ISO Media File Format Binding).

use antiphon_rtp::bitstream::vp9::FrameHeader;

use super::inspected::Inspected;

/// `vpcC` of profile 0: level not told, 8 bits, 4:2:0, colours not told.
pub(crate) const PLAIN: [u8; 8] = [0, 0, 8 << 4 | 1 << 1, 2, 2, 2, 0, 0];

/// Size and `vpcC`, if this is a key frame.
pub(crate) fn inspect(frame: &[u8]) -> Option<Inspected> {
    let header = FrameHeader::parse(frame)?;
    let key = header.key?;
    // As `vpcC` counts it: 1 is 4:2:0, 2 is 4:2:2, 3 is 4:4:4.
    let subsampling = match key.subsampling {
        [true, true] => 1,
        [true, false] => 2,
        [false, _] => 3,
    };
    let mut configuration = PLAIN.to_vec();
    configuration[0] = header.profile;
    configuration[2] = key.bit_depth << 4 | subsampling << 1 | u8::from(key.full_range);
    Some(Inspected {
        size: key.resolution,
        configuration,
    })
}
