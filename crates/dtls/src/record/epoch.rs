//! Epochs: which keys, record numbers and replay window belong together (RFC 9147 §6.1). Every record is sealed and opened here.

use antiphon_crypto::TAG_LEN;
use antiphon_sansio::TransmitBuf;
use bytes::{Buf, BytesMut};

use crate::config::Role;
use crate::error::Error;
use crate::record::{
    self, BLOCK_LEN, ContentType, HEADER_LEN, Header, MAX_PLAINTEXT, MAX_SEQUENCE, PlainHeader, Protection, SAMPLE_LEN,
    UNIFIED_LEN, UnifiedHeader, additional_data,
};

/// The epoch of the protected part of a handshake of DTLS 1.3, and its first of application data (RFC 9147 §6.1).
pub(crate) const HANDSHAKE_EPOCH: u16 = 2;
pub(crate) const APPLICATION_EPOCH: u16 = 3;

/// Forged records after which a key is given up. RFC 9147 §4.5.3 allows 2^36 for every suite that we have.
const MAX_FORGED: u64 = 1 << 36;
/// Records that are kept back from application data for the alerts that end the connection.
const LAST_WORDS: u64 = 16;
/// What these take.
pub(crate) const LAST_BLOCKS: u64 = LAST_WORDS * blocks(2);

/// What a record takes of its key: its own blocks, the last of them perhaps not full, and one for the additional data.
const fn blocks(plaintext_len: usize) -> u64 {
    plaintext_len as u64 / BLOCK_LEN + 2
}

/// The epochs of both directions that are in use, oldest first.
pub(crate) struct Epochs {
    read: Vec<ReadEpoch>,
    write: Vec<WriteEpoch>,
    /// The epoch that we send in.
    sending: u16,
    /// Whether a protected record of the peer has been opened: only who got our flight can have these keys.
    peer_has_keys: bool,
}

impl Default for Epochs {
    /// Epoch 0, in which nothing is protected.
    fn default() -> Self {
        Self {
            read: vec![ReadEpoch::new(0, None)],
            write: vec![WriteEpoch::new(0, None)],
            sending: 0,
            peer_has_keys: false,
        }
    }
}

impl Epochs {
    /// Takes our own keys of an epoch, to be used when [`Self::switch_send_to`] says so.
    pub(crate) fn prepare_send_in(&mut self, epoch: u16, protection: Protection) {
        self.write.reserve_exact(1);
        self.write.push(WriteEpoch::new(epoch, Some(protection)));
    }

    /// What follows is sent in this epoch.
    pub(crate) fn switch_send_to(&mut self, epoch: u16) {
        self.sending = epoch;
    }

    /// Takes the keys of an epoch of the peer.
    pub(crate) fn receive_in(&mut self, epoch: u16, protection: Protection) {
        self.read.reserve_exact(1);
        self.read.push(ReadEpoch::new(epoch, Some(protection)));
    }

    /// Gives up the peer's keys of epochs before `epoch`, except the one just before it, of which records may still be on
    /// their way, and the handshake's: its last flight may come again until our acknowledgement arrives. Four epochs later a
    /// header would fit both.
    pub(crate) fn forget_before(&mut self, epoch: u16) {
        let handshake = epoch < HANDSHAKE_EPOCH + 4;
        self.read
            .retain(|read| read.number + 1 >= epoch || (handshake && read.number == HANDSHAKE_EPOCH));
    }

    /// Gives up our own keys of epochs before `epoch`: all that was sent with them has been acknowledged.
    pub(crate) fn forget_sent_before(&mut self, epoch: u16) {
        self.write.retain(|write| write.number >= epoch);
        self.write.shrink_to_fit();
    }

    /// The handshake of DTLS 1.3 is complete at our end: gives up what nobody needs any more, and keeps what the last flight
    /// was protected with. That is the client's; the server has only to read it, should it come again.
    pub(crate) fn forget_hellos(&mut self, role: Role) {
        self.read.retain(|read| read.number > 0);
        self.read.shrink_to_fit();
        self.forget_sent_before(match role {
            Role::Client => HANDSHAKE_EPOCH,
            Role::Server => APPLICATION_EPOCH,
        });
    }

    /// Gives up all keys of the handshake, in both directions: it is over, and the peer knows.
    pub(crate) fn forget_handshake(&mut self) {
        self.forget_sent_before(self.sending);
        let first = if self.newest_read() > HANDSHAKE_EPOCH {
            APPLICATION_EPOCH
        } else {
            1
        };
        self.read.retain(|read| read.number >= first);
        self.read.shrink_to_fit();
    }

    /// The newest epoch of the peer.
    pub(crate) fn newest_read(&self) -> u16 {
        self.read.last().map_or(0, |epoch| epoch.number)
    }

    /// The epoch that we send in.
    pub(crate) fn sending(&self) -> u16 {
        self.sending
    }

    /// What we send in that epoch, if its keys are there.
    #[inline]
    pub(crate) fn write(&mut self, number: u16) -> Option<&mut WriteEpoch> {
        self.write.iter_mut().find(|epoch| epoch.number == number)
    }

    /// Whether a protected record of the peer has been opened.
    pub(crate) fn peer_has_keys(&self) -> bool {
        self.peer_has_keys
    }

    /// Room that [`Self::seal`] needs in front and behind; `None` before there are keys.
    pub(crate) fn overhead(&self) -> Option<(usize, usize)> {
        let epoch = self.write.last()?;
        (epoch.number == self.sending && self.sending > 0).then(|| (epoch.front(), epoch.back()))
    }

    /// Makes the body of the open segment one record of application data, with so many bytes of padding. Says how many
    /// records its key has sealed by now.
    pub(crate) fn seal(&mut self, out: &mut TransmitBuf, padding: usize) -> Result<u64, Error> {
        let epoch = self.write(self.sending).ok_or(Error::NotConnected)?;
        out.prepend(epoch.front());
        epoch.seal(ContentType::ApplicationData, out, 0, padding)?;
        Ok(epoch.next_sequence)
    }

    /// Whether there is an epoch for records with such a header.
    pub(crate) fn fit(&self, header: &Header) -> bool {
        self.read.iter().any(|epoch| epoch.fits(header))
    }

    /// Opens a record in place, see [`ReadEpoch::open`].
    #[inline(always)]
    pub(crate) fn open(&mut self, header: &Header, bytes: &mut BytesMut) -> Result<Opened, OpenError> {
        // The newest first: the two bits of an epoch in a unified header fit every fourth.
        let epoch = self.read.iter_mut().rev().find(|epoch| epoch.fits(header));
        let epoch = epoch.ok_or(OpenError::NoKeys)?;
        let opened = epoch.open(header, bytes)?;
        self.peer_has_keys |= epoch.protection.is_some();
        Ok(opened)
    }
}

/// What we send in one epoch.
pub(crate) struct WriteEpoch {
    number: u16,
    next_sequence: u64,
    /// Blocks that were sealed.
    worn: u64,
    protection: Option<Protection>,
}

impl WriteEpoch {
    pub(crate) fn new(number: u16, protection: Option<Protection>) -> Self {
        Self {
            number,
            next_sequence: 0,
            worn: 0,
            protection,
        }
    }

    /// The sequence number that the next record will have.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Room for the header in front of a plaintext.
    pub(crate) fn front(&self) -> usize {
        match &self.protection {
            None => HEADER_LEN,
            Some(protection) if protection.is_13() => UNIFIED_LEN,
            Some(protection) => HEADER_LEN + protection.explicit_len(),
        }
    }

    /// Room for the tag behind a plaintext, and for the content type that DTLS 1.3 encrypts with it.
    pub(crate) fn back(&self) -> usize {
        match &self.protection {
            None => 0,
            Some(protection) if protection.is_13() => 1 + TAG_LEN,
            Some(_) => TAG_LEN,
        }
    }

    /// Makes a record of what stands in the open segment from `start` on: [`Self::front`] bytes to be filled, then the
    /// plaintext. Appends the tag. `padding` zeros are encrypted with it (RFC 8446 §5.4): DTLS 1.2 has no such thing.
    pub(crate) fn seal(
        &mut self,
        content_type: ContentType,
        out: &mut TransmitBuf,
        start: usize,
        padding: usize,
    ) -> Result<(), Error> {
        let front = self.front();
        let record = &mut out.body_mut()[start..];
        let plaintext_len = record.len() - front;
        let limit = self.protection.as_ref().map_or(u64::MAX, |protection| protection.limit);
        let (kept_records, kept_blocks) = if content_type == ContentType::ApplicationData {
            (LAST_WORDS, LAST_BLOCKS)
        } else {
            (0, 0)
        };
        let worn = self.worn + blocks(plaintext_len + padding);
        if self.next_sequence > MAX_SEQUENCE - kept_records || worn > limit - kept_blocks {
            return Err(Error::Exhausted);
        }
        if plaintext_len + padding > MAX_PLAINTEXT {
            return Err(Error::Protocol("a record holds at most 2^14 bytes"));
        }
        self.worn = worn;
        if self.protection.as_ref().is_some_and(Protection::is_13) {
            self.seal_13(content_type, out, start, plaintext_len, padding);
            return Ok(());
        }
        let length = front - HEADER_LEN + plaintext_len + self.back();
        let header = PlainHeader {
            content_type,
            epoch: self.number,
            sequence: self.next_sequence,
            length: length as u16,
        };
        self.next_sequence += 1;
        record[..HEADER_LEN].copy_from_slice(&header.bytes());
        if let Some(protection) = &self.protection {
            let number = header.record_number();
            record[HEADER_LEN..front].copy_from_slice(&number.to_be_bytes()[..front - HEADER_LEN]);
            let nonce = protection.nonce(number, number);
            let aad = additional_data(&header, record::VERSION, plaintext_len);
            let tag = protection.key.seal(&nonce, &aad, &mut record[front..]);
            out.put_slice(&tag);
        }
        Ok(())
    }
}

impl WriteEpoch {
    fn seal_13(
        &mut self,
        content_type: ContentType,
        out: &mut TransmitBuf,
        start: usize,
        plaintext_len: usize,
        padding: usize,
    ) {
        let Some(protection) = &self.protection else { return };
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        out.put_u8(content_type.code());
        out.put_zeros(padding);
        let record = &mut out.body_mut()[start..];
        let header = UnifiedHeader::bytes(self.number, sequence, plaintext_len + 1 + padding + TAG_LEN);
        record[..UNIFIED_LEN].copy_from_slice(&header);
        let tag = protection
            .key
            .seal(&protection.nonce(sequence, 0), &header, &mut record[UNIFIED_LEN..]);
        out.put_slice(&tag);
        let (header, ciphertext) = out.body_mut()[start..].split_at_mut(UNIFIED_LEN);
        let mask = protection.number_mask(ciphertext);
        header[1] ^= mask[0];
        header[2] ^= mask[1];
    }
}

#[cfg(test)]
impl WriteEpoch {
    /// As if the key had so many blocks left.
    pub(crate) fn pretend_worn(&mut self, left: u64) {
        self.worn = record::MAX_BLOCKS_GCM - left;
    }

    /// A record of application data in any form of the unified header (RFC 9147 §4): `first` is its first byte. Where that
    /// says that a connection ID follows, there is one of four bytes.
    pub(crate) fn seal_with(&mut self, first: u8, data: &[u8]) -> BytesMut {
        let protection = self.protection.as_ref().unwrap();
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let mut record = vec![first];
        if first & 0b1_0000 != 0 {
            record.extend_from_slice(&[1, 2, 3, 4]);
        }
        let number = record.len();
        let number_len = if first & 0b1000 != 0 { 2 } else { 1 };
        record.extend_from_slice(&sequence.to_be_bytes()[8 - number_len..]);
        if first & 0b100 != 0 {
            record.extend_from_slice(&((data.len() + 1 + TAG_LEN) as u16).to_be_bytes());
        }
        let header = record.clone();
        record.extend_from_slice(data);
        record.push(ContentType::ApplicationData.code());
        let tag = protection
            .key
            .seal(&protection.nonce(sequence, 0), &header, &mut record[header.len()..]);
        record.extend_from_slice(&tag);
        let (head, ciphertext) = record.split_at_mut(header.len());
        let mask = protection.number_mask(ciphertext);
        for (byte, mask) in head[number..number + number_len].iter_mut().zip(mask) {
            *byte ^= mask;
        }
        BytesMut::from(&record[..])
    }
}

/// What an opened record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) content_type: ContentType,
    pub(crate) epoch: u16,
    pub(crate) sequence: u64,
    /// Length of the plaintext.
    pub(crate) len: usize,
}

/// Why a record was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// Its epoch is not in use, or not yet.
    NoKeys,
    /// Seen before, or too old to tell.
    Replayed,
    /// The tag is wrong.
    Forged,
    /// Too short to be a record of this epoch.
    Malformed,
    /// So many forgeries that the key is worn out.
    Exhausted,
}

/// What the peer sends in one epoch.
struct ReadEpoch {
    number: u16,
    is_13: bool,
    replay: ReplayWindow,
    protection: Option<Protection>,
    forged: u64,
}

impl ReadEpoch {
    fn new(number: u16, protection: Option<Protection>) -> Self {
        Self {
            number,
            is_13: protection.as_ref().is_some_and(Protection::is_13),
            replay: ReplayWindow::default(),
            protection,
            forged: 0,
        }
    }

    /// Whether this may be the epoch of a record with that header.
    #[inline]
    fn fits(&self, header: &Header) -> bool {
        match header {
            Header::Plain(header) => header.epoch == self.number && !self.is_13,
            Header::Unified(header) => u16::from(header.epoch_bits) == self.number & 0b11 && self.is_13,
        }
    }

    /// Opens a record of this epoch in place: then `bytes` begin with the plaintext, and what is behind it means nothing. The
    /// replay window moves only after the tag was found right. Without protection there is no window either: a forger could
    /// make it drop the peer's records, and handshake messages have numbers of their own.
    ///
    /// The buffer is left longer than the plaintext because to move it waits for changes of it to reach memory, which they do
    /// only when decryption is complete.
    #[inline(always)]
    fn open(&mut self, header: &Header, bytes: &mut BytesMut) -> Result<Opened, OpenError> {
        match header {
            Header::Plain(header) => self.open_plain(header, bytes),
            Header::Unified(header) => self.open_unified(header, bytes),
        }
    }

    #[inline(always)]
    fn open_plain(&mut self, header: &PlainHeader, bytes: &mut BytesMut) -> Result<Opened, OpenError> {
        let opened = |len| Opened {
            content_type: header.content_type,
            epoch: header.epoch,
            sequence: header.sequence,
            len,
        };
        let Some(protection) = &self.protection else {
            bytes.advance(HEADER_LEN);
            return Ok(opened(bytes.len()));
        };
        if !self.replay.check(header.sequence) {
            return Err(OpenError::Replayed);
        }
        let front = HEADER_LEN + protection.explicit_len();
        if bytes.len() < front + TAG_LEN || bytes.len() - front - TAG_LEN > MAX_PLAINTEXT {
            return Err(OpenError::Malformed);
        }
        let plaintext_len = bytes.len() - front - TAG_LEN;
        let aad = additional_data(header, [bytes[1], bytes[2]], plaintext_len);
        let carried = bytes[HEADER_LEN..front]
            .first_chunk()
            .map_or(0, |carried| u64::from_be_bytes(*carried));
        let nonce = protection.nonce(header.record_number(), carried);
        bytes.advance(front);
        if protection.key.open(&nonce, &aad, bytes).is_err() {
            return Err(self.count_forged());
        }
        self.replay.accept(header.sequence);
        Ok(opened(plaintext_len))
    }

    #[inline(always)]
    fn open_unified(&mut self, header: &UnifiedHeader, bytes: &mut BytesMut) -> Result<Opened, OpenError> {
        let Some(protection) = &self.protection else {
            return Err(OpenError::Malformed);
        };
        if bytes.len() < header.len + SAMPLE_LEN || bytes.len() - header.len > MAX_PLAINTEXT + 256 {
            return Err(OpenError::Malformed);
        }
        let Some(front) = bytes.first_chunk::<8>() else {
            return Err(OpenError::Malformed);
        };
        let mask = protection.number_mask(&bytes[header.len..]);
        // The header as one number and not byte by byte in the buffer: who reads it for additional data reads words.
        let (number_bits, shift) = if header.sequence_len == 2 {
            (0xffff, 40)
        } else {
            (0xff, 48)
        };
        let hidden = u64::from_be_bytes(*front);
        let short = (hidden ^ u64::from(u16::from_be_bytes(mask)) << 40) >> shift & number_bits;
        let next = self.replay.next();
        // Mostly it is the record that follows the newest one. The processor foresees that, and since the number is then not
        // computed from the mask, it begins to decrypt while the mask is still on its way.
        let sequence = if short == next & number_bits {
            next
        } else {
            self.another_number(short, 8 * header.sequence_len as u32)?
        };
        let head = hidden & !(number_bits << shift) | (sequence & number_bits) << shift;
        let aad = head.to_be_bytes();
        let nonce = protection.nonce(sequence, 0);
        bytes.advance(header.len);
        let aad = &aad[..header.len];
        let Some((inner, tag)) = bytes.split_last_chunk_mut::<TAG_LEN>() else {
            return Err(OpenError::Malformed);
        };
        if protection.key.open_detached(&nonce, aad, inner, tag).is_err() {
            return Err(self.count_forged());
        }
        self.replay.accept(sequence);
        // The content type is the last byte that is not padding (RFC 8446 §5.4).
        let Some(len) = inner.iter().rposition(|byte| *byte != 0) else {
            return Err(OpenError::Malformed);
        };
        let content_type = ContentType::from_code(inner[len]).ok_or(OpenError::Malformed)?;
        Ok(Opened {
            content_type,
            epoch: self.number,
            sequence,
            len,
        })
    }

    /// The number of a record that does not follow the newest one: some were lost, or it was overtaken, or it is a repetition.
    #[inline(never)]
    fn another_number(&self, short: u64, bits: u32) -> Result<u64, OpenError> {
        let sequence = complete_number(short, bits, self.replay.next());
        if self.replay.check(sequence) {
            Ok(sequence)
        } else {
            Err(OpenError::Replayed)
        }
    }

    #[cold]
    fn count_forged(&mut self) -> OpenError {
        self.forged += 1;
        if self.forged > MAX_FORGED {
            OpenError::Exhausted
        } else {
            OpenError::Forged
        }
    }
}

/// The number with the low bits `short` that is nearest to `next` (RFC 9147 §4.2.2).
fn complete_number(short: u64, bits: u32, next: u64) -> u64 {
    let span = 1u64 << bits;
    let candidate = next & !(span - 1) | short;
    if candidate + span / 2 < next {
        candidate + span
    } else if candidate > next + span / 2 && candidate >= span {
        candidate - span
    } else {
        candidate
    }
}

/// How many record numbers below the newest are remembered. SCTP over a path that reorders wants more than the 64 of
/// RFC 6347 §4.1.2.6.
const REPLAY_WINDOW: u64 = 1024 - 64;

const REPLAY_WORDS: usize = 16;

/// Which record numbers of one epoch have been seen (RFC 6347 §4.1.2.6; the ring of RFC 6479).
///
/// [`Self::check`] comes before authentication and changes nothing; [`Self::accept`] comes after.
#[derive(Clone, Debug, Default)]
struct ReplayWindow {
    /// One more than the newest number accepted.
    next: u64,
    bits: [u64; REPLAY_WORDS],
}

impl ReplayWindow {
    /// Whether a record of this number may still be new.
    #[inline]
    fn check(&self, sequence: u64) -> bool {
        if sequence >= self.next {
            return true;
        }
        self.next - sequence <= REPLAY_WINDOW && self.bits[word(sequence)] & bit(sequence) == 0
    }

    /// Remembers an authenticated record's number.
    #[inline(always)]
    fn accept(&mut self, sequence: u64) {
        if sequence >= self.next {
            let newest_block = self.next.saturating_sub(1) / 64;
            let blocks = (sequence / 64 - newest_block).min(REPLAY_WORDS as u64);
            if blocks > 0 {
                self.forget(newest_block + 1, blocks);
            }
            self.next = sequence + 1;
        }
        self.bits[word(sequence)] |= bit(sequence);
    }

    /// The words from `block` on are for newer numbers now.
    #[cold]
    fn forget(&mut self, block: u64, blocks: u64) {
        for step in 0..blocks {
            self.bits[((block + step) % REPLAY_WORDS as u64) as usize] = 0;
        }
    }

    /// One more than the newest number accepted: what a shortened number is completed around.
    #[inline]
    fn next(&self) -> u64 {
        self.next
    }
}

#[inline]
fn word(sequence: u64) -> usize {
    (sequence / 64) as usize % REPLAY_WORDS
}

#[inline]
fn bit(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

#[cfg(test)]
mod tests;
