//! Who a packet belongs to: by SSRC, MID, RID and payload type (RFC 9143 §9.2, RFC 8852, RFC 4588).
//!
//! The table of SSRCs is the one thing that is looked at for every packet. Each entry says what its source is for: media, or
//! the repair of a media source, by retransmission or by forward error correction. RED (RFC 2198) has no source of its own, and is
//! a [`Use`] of a payload type.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_rtp::Rid;
use antiphon_rtp::extension::{Map, Values};
use antiphon_rtp::packet::Header;

use crate::config::{ReceiverConfig, RemoteSource};
use crate::deadlines::Deadlines;
use crate::event::ReceiverId;
use crate::inbound::Inbound;
use crate::lip_sync;
use crate::section::{Section, Use};
use crate::stats::Dropped;

/// Most sources of one receiver that no description announced; the longest silent one makes room.
const MAX_UNSIGNALLED: usize = 16;
/// Most sources, and most retransmission sources, of one session.
const MAX_SOURCES: usize = 512;
/// Most retransmission sources that came before their media.
const MAX_EARLY_RTX: usize = 16;
/// A source that was heard this long ago makes no room for another.
const TALKING: Duration = Duration::from_secs(2);

/// Names a source as long as it is known; used again afterwards.
pub(crate) type SourceId = usize;

/// What an SSRC is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Media,
    Rtx,
    Fec,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    ssrc: u32,
    role: Role,
    source: SourceId,
}

/// Where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To this source.
    Media(SourceId),
    /// It repairs this source.
    Rtx(SourceId),
    /// It protects packets of this source.
    Fec(SourceId),
    /// It repairs a source that has sent nothing yet.
    Early,
}

/// A retransmission source that came before the source that it repairs: Chromium probes the path with padding there.
#[derive(Debug)]
struct EarlyRtx {
    ssrc: u32,
    receiver: ReceiverId,
    /// The layer, where there are several.
    rid: Option<Rid>,
}

/// Receivers, their sources, and which SSRC is whose.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Routing {
    /// In front, for packets that leave ask for the earliest too.
    deadlines: Deadlines,
    sections: BTreeMap<ReceiverId, Arc<Section>>,
    /// By [`SourceId`].
    sources: Vec<Option<Inbound>>,
    /// In order of SSRC.
    table: Vec<Entry>,
    /// The entry of the packet before: the next packet is most often of the same source.
    last: usize,
    early: Vec<EarlyRtx>,
    /// What the identifiers of incoming extensions mean: within a BUNDLE group the same everywhere (RFC 9143 §7.1.2).
    extensions: Map,
    /// A moment by which all ways are told; any does.
    origin: Option<Instant>,
}

impl Routing {
    /// What the identifiers of incoming header extensions mean.
    #[inline]
    pub(crate) fn extensions(&self) -> &Map {
        &self.extensions
    }

    /// All receivers.
    pub(crate) fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.values().map(|section| &**section)
    }

    /// Whether there is such a receiver.
    pub(crate) fn has_section(&self, id: ReceiverId) -> bool {
        self.sections.contains_key(&id)
    }

    /// Adds a receiver, or replaces what was negotiated for it: its sources live on, but for those that were announced and are not
    /// any more.
    pub(crate) fn set_section(&mut self, id: ReceiverId, config: ReceiverConfig) {
        let announced = |ssrc: u32| config.sources.iter().any(|source| source.ssrc == ssrc);
        self.forget_if(|source| source.section.id == id && source.signalled && !announced(source.ssrc));
        let section = Arc::new(Section::new(id, config));
        self.sections.insert(id, Arc::clone(&section));
        self.renew(&section);
        for source in &section.config.sources {
            self.announce(&section, source);
        }
        self.map_extensions();
    }

    /// Hands `section` to its sources.
    fn renew(&mut self, section: &Arc<Section>) {
        for id in 0..self.sources.len() {
            if let Some(source) = &mut self.sources[id]
                && source.section.id == section.id
            {
                source.renegotiate(Arc::clone(section));
                self.reschedule(id);
            }
        }
    }

    /// Changes what the application wants of a receiver.
    pub(crate) fn change(&mut self, id: ReceiverId, change: impl FnOnce(&mut ReceiverConfig)) {
        let Some(section) = self.sections.get_mut(&id) else {
            return;
        };
        let mut config = section.config.clone();
        change(&mut config);
        *section = Arc::new(Section::new(id, config));
        let section = Arc::clone(section);
        self.renew(&section);
    }

    /// A report has come that tells when media was captured: holds back what is early in its group.
    pub(crate) fn keep_in_step(&mut self, now: Instant) {
        let origin = *self.origin.get_or_insert(now);
        lip_sync::measure(now, origin, &mut self.sources);
        lip_sync::keep_in_step(now, &mut self.sources);
    }

    /// Media of a source has come: if it is to be played later, or earlier, so are others of its group. It is
    /// scheduled anew.
    #[inline]
    pub(crate) fn follow(&mut self, now: Instant, id: SourceId) {
        if self.source_mut(id).is_some_and(|source| source.playout.take_moved()) {
            lip_sync::keep_in_step(now, &mut self.sources);
        }
        self.reschedule(id);
    }

    /// The sources of a receiver shall be asked for a key frame: one of them, or all.
    pub(crate) fn want_key_frames(&mut self, receiver: ReceiverId, ssrc: Option<u32>) {
        for id in 0..self.sources.len() {
            if let Some(source) = &mut self.sources[id]
                && source.section.id == receiver
                && ssrc.is_none_or(|ssrc| source.ssrc == ssrc)
            {
                source.key_frames.wanted = true;
                self.reschedule(id);
            }
        }
    }

    /// Takes a receiver and its sources away.
    pub(crate) fn remove_section(&mut self, id: ReceiverId) {
        self.sections.remove(&id);
        self.forget_if(|source| source.section.id == id);
        self.early.retain(|early| early.receiver != id);
        self.map_extensions();
    }

    fn map_extensions(&mut self) {
        self.extensions = Map::default();
        for section in self.sections.values() {
            for (id, kind) in section.config.extensions.iter() {
                self.extensions.insert(id, kind);
            }
        }
    }

    fn announce(&mut self, section: &Arc<Section>, announced: &RemoteSource) {
        let known = self.entry(announced.ssrc).map(|at| self.table[at]);
        let id = match known {
            Some(Entry {
                role: Role::Media,
                source,
                ..
            }) => source,
            // An SSRC that repairs another source is no source of its own.
            Some(_) => return,
            None if self.count() >= MAX_SOURCES => return,
            None => self.insert(Inbound::new(announced.ssrc, Arc::clone(section), true)),
        };
        let Some(source) = &mut self.sources[id] else { return };
        source.renegotiate(Arc::clone(section));
        source.signalled = true;
        if let Some(rtx) = announced.rtx_ssrc {
            self.repair(rtx, id);
        }
        if let Some(fec) = announced.fec_ssrc {
            self.protect(fec, id);
        }
    }

    fn count(&self) -> usize {
        self.sources.iter().flatten().count()
    }

    fn entry(&self, ssrc: u32) -> Option<usize> {
        self.table.binary_search_by_key(&ssrc, |entry| entry.ssrc).ok()
    }

    fn set_entry(&mut self, new: Entry) {
        match self.table.binary_search_by_key(&new.ssrc, |entry| entry.ssrc) {
            Ok(at) => {
                let old = std::mem::replace(&mut self.table[at], new);
                if old.role == Role::Media && old.source != new.source {
                    self.forget(old.source);
                }
            }
            Err(at) => self.table.insert(at, new),
        }
    }

    fn insert(&mut self, source: Inbound) -> SourceId {
        let ssrc = source.ssrc;
        let id = match self.sources.iter().position(Option::is_none) {
            Some(id) => id,
            None => {
                self.sources.push(None);
                self.sources.len() - 1
            }
        };
        self.sources[id] = Some(source);
        self.set_entry(Entry {
            ssrc,
            role: Role::Media,
            source: id,
        });
        id
    }

    /// Lets `rtx` repair a source, and no other SSRC any more.
    fn repair(&mut self, rtx: u32, id: SourceId) {
        let before = self.sources[id].as_ref().and_then(|source| source.rtx_ssrc);
        if before != Some(rtx) {
            self.table.retain(|entry| entry.role != Role::Rtx || entry.source != id);
        }
        let repairs = self.table.iter().filter(|entry| entry.role == Role::Rtx).count();
        // What is a source itself repairs none.
        let is_source = self.sources[id].as_ref().is_some_and(|source| source.ssrc == rtx);
        if repairs >= MAX_SOURCES || is_source {
            return;
        }
        if let Some(source) = &mut self.sources[id] {
            source.rtx_ssrc = Some(rtx);
        }
        self.set_entry(Entry {
            ssrc: rtx,
            role: Role::Rtx,
            source: id,
        });
    }

    /// Lets `fec` protect a source, and no other SSRC any more. What is a source itself, or repairs one, protects none.
    fn protect(&mut self, fec: u32, id: SourceId) {
        self.table.retain(|entry| entry.role != Role::Fec || entry.source != id);
        let protecting = self.table.iter().filter(|entry| entry.role == Role::Fec).count();
        if protecting < MAX_SOURCES && self.entry(fec).is_none() {
            self.set_entry(Entry {
                ssrc: fec,
                role: Role::Fec,
                source: id,
            });
        }
    }

    /// The SSRC of the packets that protect a source, if they have one of their own.
    pub(crate) fn protector(&self, ssrc: u32) -> Option<u32> {
        let id = self.by_ssrc(ssrc)?;
        let mut table = self.table.iter();
        Some(table.find(|entry| entry.role == Role::Fec && entry.source == id)?.ssrc)
    }

    fn forget(&mut self, id: SourceId) {
        self.sources[id] = None;
        self.table.retain(|entry| entry.source != id);
        self.deadlines.set(id, None);
    }

    fn forget_if(&mut self, gone: impl Fn(&Inbound) -> bool) {
        for id in 0..self.sources.len() {
            if self.sources[id].as_ref().is_some_and(&gone) {
                self.forget(id);
            }
        }
    }

    /// The source of this name.
    #[inline]
    pub(crate) fn source_mut(&mut self, id: SourceId) -> Option<&mut Inbound> {
        self.sources.get_mut(id)?.as_mut()
    }

    /// The source of this name, and what the identifiers of incoming header extensions mean.
    #[inline]
    pub(crate) fn source_and_extensions(&mut self, id: SourceId) -> Option<(&mut Inbound, &Map)> {
        Some((self.sources.get_mut(id)?.as_mut()?, &self.extensions))
    }

    /// The source of this SSRC, which is none of retransmissions.
    pub(crate) fn by_ssrc(&self, ssrc: u32) -> Option<SourceId> {
        let entry = self.table[self.entry(ssrc)?];
        (entry.role == Role::Media).then_some(entry.source)
    }

    /// All sources, in order of SSRC.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Inbound> {
        let media = self.table.iter().filter(|entry| entry.role == Role::Media);
        media.filter_map(|entry| self.sources[entry.source].as_ref())
    }

    /// All sources. Whoever changes what they wait for reschedules them.
    pub(crate) fn sources_mut(&mut self) -> impl Iterator<Item = (SourceId, &mut Inbound)> {
        let sources = self.sources.iter_mut().enumerate();
        sources.filter_map(|(id, source)| Some((id, source.as_mut()?)))
    }

    /// Looks again when a source has something to do.
    #[inline]
    pub(crate) fn reschedule(&mut self, id: SourceId) {
        if let Some(Some(source)) = self.sources.get_mut(id) {
            let next = source.next_timeout();
            if std::mem::replace(&mut source.scheduled, next) != next {
                self.deadlines.set(id, next);
            }
        }
    }

    /// When the first source has something to do.
    #[inline]
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Appends the sources that have something to do by `now` to `ids`.
    pub(crate) fn due(&self, now: Instant, ids: &mut Vec<SourceId>) {
        self.deadlines.due(now, ids);
    }

    /// RFC 9143 §9.2: by MID if the packet carries one, else by the SSRC as learnt or announced, else by a payload type that
    /// only one media section has. `None`: dropped, and counted.
    #[inline]
    pub(crate) fn route(
        &mut self,
        now: Instant,
        header: &Header,
        values: &Values<'_>,
        dropped: &mut Dropped,
    ) -> Option<Route> {
        let last = self
            .table
            .get(self.last)
            .filter(|entry| entry.ssrc == header.ssrc)
            .copied();
        let known = last.or_else(|| {
            self.last = self.entry(header.ssrc)?;
            self.table.get(self.last).copied()
        });
        if let Some(entry) = known
            && let Some(source) = self.sources[entry.source].as_ref()
        {
            if values.mid.is_none_or(|mid| source.section.config.mid.as_bytes() == mid) {
                return Some(match entry.role {
                    Role::Media => Route::Media(entry.source),
                    Role::Rtx => Route::Rtx(entry.source),
                    Role::Fec => Route::Fec(entry.source),
                });
            }
            if !source.signalled {
                // A MID moves a source that only a payload type had placed.
                self.forget(entry.source);
            }
        }
        self.place(now, header, values, dropped)
    }

    /// Finds the receiver of a source that is not known.
    fn place(&mut self, now: Instant, header: &Header, values: &Values<'_>, dropped: &mut Dropped) -> Option<Route> {
        if values.mid.is_none() && self.early.iter().any(|early| early.ssrc == header.ssrc) {
            return Some(Route::Early);
        }
        let section = match values.mid {
            Some(mid) => self
                .sections
                .values()
                .find(|section| section.config.mid.as_bytes() == mid),
            None => self.only_section_of(header.payload_type),
        };
        let found = section.and_then(|section| Some((Arc::clone(section), section.use_of(header.payload_type)?)));
        let route = match found {
            None => None,
            Some((section, Use::Rtx(_))) => Some(self.learn_repair(header.ssrc, &section, values)),
            Some((section, Use::Fec(_))) => self.learn_protection(header.ssrc, section.id),
            Some((section, Use::Media(_) | Use::Red)) if values.rid.is_some_and(|rid| !section.allows_rid(rid)) => None,
            Some((section, Use::Media(_) | Use::Red)) => {
                if !self.make_room(now, section.id) {
                    dropped.too_many_sources += 1;
                    return None;
                }
                Some(self.learn(header.ssrc, section, values))
            }
        };
        dropped.unrouted += u64::from(route.is_none());
        route
    }

    fn only_section_of(&self, payload_type: u8) -> Option<&Arc<Section>> {
        let mut matching = self
            .sections
            .values()
            .filter(|section| section.use_of(payload_type).is_some());
        let first = matching.next()?;
        matching.next().is_none().then_some(first)
    }

    /// Learns which source a retransmission source repairs.
    fn learn_repair(&mut self, ssrc: u32, section: &Section, values: &Values<'_>) -> Route {
        let candidates = || self.sources().filter(|source| source.section.id == section.id);
        let media = match values.repaired_rid {
            Some(rid) => candidates()
                .find(|source| source.rid.as_ref().map(Rid::as_bytes) == Some(rid))
                .map(|source| source.ssrc),
            None => {
                // RFC 4588 §5.3 associates by what was asked for; with one candidate there is nothing to ask.
                let mut free = candidates().filter(|source| source.rtx_ssrc.is_none_or(|rtx| rtx == ssrc));
                let first = free.next().map(|source| source.ssrc);
                first.filter(|_| free.next().is_none())
            }
        };
        let Some(id) = media.and_then(|media| self.by_ssrc(media)) else {
            let waits = self.early.iter().any(|early| early.ssrc == ssrc);
            if !waits && self.early.len() < MAX_EARLY_RTX {
                self.early.push(EarlyRtx {
                    ssrc,
                    receiver: section.id,
                    rid: values.repaired_rid.and_then(Rid::new),
                });
            }
            return Route::Early;
        };
        self.early.retain(|early| early.ssrc != ssrc);
        if values.mid.is_some() {
            self.repair(ssrc, id);
        }
        Route::Rtx(id)
    }

    /// Forward error correction that nobody announced protects the one source of its receiver.
    fn learn_protection(&mut self, ssrc: u32, receiver: ReceiverId) -> Option<Route> {
        let only = {
            let mut candidates = self.sources().filter(|source| source.section.id == receiver);
            let first = candidates.next()?.ssrc;
            candidates.next().is_none().then_some(first)?
        };
        let id = self.by_ssrc(only)?;
        self.protect(ssrc, id);
        Some(Route::Fec(id))
    }

    /// Whether a receiver may have one more source that nobody announced; one that has long been silent makes room.
    fn make_room(&mut self, now: Instant, receiver: ReceiverId) -> bool {
        let unsignalled = |source: &&Inbound| source.section.id == receiver && !source.signalled;
        if self.sources().filter(unsignalled).count() >= MAX_UNSIGNALLED {
            let oldest = self
                .sources()
                .filter(unsignalled)
                .min_by_key(|source| source.last_packet);
            // A crowd of sources that all talk is an attack, or a fault: the newcomer waits.
            let silent = |source: &&Inbound| {
                let heard = |at: Instant| now.saturating_duration_since(at) < TALKING;
                !source.last_packet.is_some_and(heard)
            };
            match oldest.filter(silent).and_then(|source| self.by_ssrc(source.ssrc)) {
                Some(id) => self.forget(id),
                None => return false,
            }
        }
        self.count() < MAX_SOURCES
    }

    /// A source of media that was not known.
    fn learn(&mut self, ssrc: u32, section: Arc<Section>, values: &Values<'_>) -> Route {
        let mut source = Inbound::new(ssrc, section, false);
        if let Some(rid) = values.rid {
            source.name(rid);
        }
        let repairs = |early: &EarlyRtx| early.receiver == source.section.id && early.rid == source.rid;
        let early = self.early.iter().position(repairs).map(|at| self.early.remove(at));
        let id = self.insert(source);
        if let Some(early) = early {
            self.repair(early.ssrc, id);
        }
        Route::Media(id)
    }
}
