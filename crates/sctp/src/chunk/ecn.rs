//! ECNE and CWR (RFC 9260 Appendix B).

use antiphon_sansio::Serial32;

use super::kind;
use crate::packet::{Put, put_chunk};

/// Appends ECNE: a packet arrived that the path had marked instead of dropping it (RFC 9260 Appendix B).
///
/// ```text
/// |  12  | flags |   length = 8   |
/// |      lowest TSN (32)          |
/// ```
pub(crate) fn put_ecne(out: &mut impl Put, tsn: Serial32) {
    put_chunk(out, kind::ECNE, 0, &[&tsn.get().to_be_bytes()]);
}

/// Appends CWR: the sender has slowed down because of that mark.
///
/// ```text
/// |  13  | flags |   length = 8   |
/// |      lowest TSN (32)          |
/// ```
pub(crate) fn put_cwr(out: &mut impl Put, tsn: Serial32) {
    put_chunk(out, kind::CWR, 0, &[&tsn.get().to_be_bytes()]);
}
