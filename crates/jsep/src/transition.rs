//! Setting a description (RFC 9429 §5.5 to §5.11): from a state to the next one, or to an error and nothing.

use std::sync::Arc;

use antiphon_sdp::{Direction, MediaDescription, Msid, SessionDescription, Setup};

use crate::config::Config;
use crate::error::JsepError;
use crate::parameters::{MAX_MSIDS, Pair};
use crate::plan::{IceRole, RemoteTransport};
use crate::state::{Created, Described, State};
use crate::survey::{self, Content, label};
use crate::transceiver::{Negotiated, Sender, Transceiver};
use crate::types::{DtlsRole, SdpType, SignalingState, TransceiverId};

impl State {
    /// The state after a local description. `self` may be thrown away half changed: it is the caller's copy.
    pub(crate) fn set_local(
        &mut self,
        kind: SdpType,
        text: Arc<SessionDescription>,
        created: Option<&Created>,
    ) -> Result<(), JsepError> {
        let description = &*text;
        self.check_state(true, kind)?;
        let created = created
            .filter(|created| (created.kind == SdpType::Offer) == (kind == SdpType::Offer))
            .ok_or(JsepError::Modified {
                reason: "none was made for this state",
            })?;
        if !Arc::ptr_eq(&created.description, &text) {
            survey::check(description)?;
            check_created(&created.description, description)?;
        }
        let (members, tagged) = match kind {
            SdpType::Offer => {
                let members: Vec<usize> = (0..description.media.len())
                    .filter(|&index| !description.media[index].is_rejected())
                    .collect();
                let tagged = members.first().copied();
                (members, tagged)
            }
            _ => survey::answered_members(description)?,
        };
        let described = Described {
            kind,
            text: Arc::clone(&text),
            members,
            tagged,
        };
        self.leave_stable();
        if let Some(tagged) = described.tagged {
            let transport = &mut self.session.transport;
            transport.local = survey::credentials(description, tagged);
            transport.local_lite = description.session.ice_lite();
        }
        self.note_mids(description);
        if let Some(origin) = description.origin() {
            self.version = self.version.max(origin.version().unwrap_or(0));
        }
        if kind == SdpType::Offer {
            for (index, id) in created.slots.iter().enumerate() {
                let Some(id) = id else { continue };
                let transceiver = self.by_id(*id).ok_or(JsepError::Modified {
                    reason: "a transceiver in it is gone",
                })?;
                transceiver.state.m_line_index = Some(index);
                transceiver.state.mid = description.media[index].section.mid().map(str::to_owned);
            }
            self.choose_ice_role(IceRole::Controlling);
            self.pending_local = Some(described);
            self.signaling = SignalingState::HaveLocalOffer;
            return Ok(());
        }
        let role = described
            .tagged
            .and_then(|tagged| survey::setup(description, tagged))
            .map(|setup| match setup {
                Setup::Passive => DtlsRole::Server,
                _ => DtlsRole::Client,
            });
        self.session.transport.dtls_role = role.or(self.session.transport.dtls_role);
        self.answer(true, described)
    }

    /// The state after a remote description.
    pub(crate) fn set_remote(
        &mut self,
        kind: SdpType,
        text: Arc<SessionDescription>,
        config: &Config,
    ) -> Result<(), JsepError> {
        let description = &*text;
        self.check_state(false, kind)?;
        survey::check(description)?;
        if kind == SdpType::Offer {
            // W3C: an offer that meets our pending offer takes it back; one that follows another replaces it.
            if self.signaling != SignalingState::Stable {
                self.roll_back();
            }
            self.check_offer(description)?;
        } else {
            self.check_answer(description)?;
        }
        let (members, tagged) = match kind {
            SdpType::Offer => survey::offered_members(config, description, &self.session.transport.bundle),
            _ => survey::answered_members(description)?,
        };
        let ours = match kind {
            SdpType::Offer => &self.current_local,
            _ => &self.pending_local,
        };
        let ours = ours.as_ref().map(|described| &*described.text);
        let header_encryption = survey::header_encryption(config, kind, description, ours, &members)?;
        let remote = match tagged {
            Some(tagged) => {
                let mut remote = survey::remote_transport(description, tagged, header_encryption)?;
                if ours.is_some_and(|ours| survey::any_copied(ours, description)) {
                    // What it has copied says nothing of what it can do.
                    remote.ice_options.clear();
                }
                Some(remote)
            }
            None => None,
        };
        self.leave_stable();
        if let (Some(remote), Some(tagged)) = (remote, tagged) {
            self.check_transport(&remote)?;
            self.take_setup(kind, description, tagged)?;
            self.session.transport.remote = Some(remote);
        }
        self.note_mids(description);
        if kind == SdpType::Offer {
            self.generate_mids(description);
        }
        let described = Described {
            kind,
            text: Arc::clone(&text),
            members,
            tagged,
        };
        if kind == SdpType::Offer {
            self.take_offer(&described);
            self.choose_ice_role(IceRole::Controlled);
            self.pending_remote = Some(described);
            self.signaling = SignalingState::HaveRemoteOffer;
            return Ok(());
        }
        self.choose_ice_role(IceRole::Controlling);
        self.answer(false, described)
    }

    /// A section's mid, generated if the peer gave none; its index if it has none at all.
    fn name_of(&self, description: &SessionDescription, index: usize) -> String {
        self.mid_of(description, index)
            .unwrap_or_else(|| label(description, index))
    }

    fn by_id(&mut self, id: TransceiverId) -> Option<&mut Transceiver> {
        self.transceivers.iter_mut().find(|transceiver| transceiver.id == id)
    }

    /// RFC 9429 §5.5, §5.6 and figure 2: which kind fits which state.
    fn check_state(&self, local: bool, kind: SdpType) -> Result<(), JsepError> {
        use SignalingState::{HaveLocalOffer, HaveLocalPrAnswer, HaveRemoteOffer, HaveRemotePrAnswer, Stable};
        let fits = match (local, kind) {
            (true, SdpType::Offer) => matches!(self.signaling, Stable | HaveLocalOffer),
            (false, SdpType::Offer) => matches!(self.signaling, Stable | HaveRemoteOffer | HaveLocalOffer),
            (true, SdpType::PrAnswer | SdpType::Answer) => {
                matches!(self.signaling, HaveRemoteOffer | HaveLocalPrAnswer)
            }
            (false, SdpType::PrAnswer | SdpType::Answer) => {
                matches!(self.signaling, HaveLocalOffer | HaveRemotePrAnswer)
            }
            (_, SdpType::Rollback) => matches!(self.signaling, HaveLocalOffer | HaveRemoteOffer),
        };
        if fits {
            Ok(())
        } else {
            Err(JsepError::set(local, kind, self.signaling))
        }
    }

    pub(crate) fn set_rollback(&mut self, local: bool) -> Result<(), JsepError> {
        self.check_state(local, SdpType::Rollback)?;
        self.roll_back();
        Ok(())
    }

    /// RFC 3264 §8: sections stay in their places; only a refused one may become another.
    fn check_offer(&self, description: &SessionDescription) -> Result<(), JsepError> {
        let Some(previous) = &self.current_remote else {
            return Ok(());
        };
        let expected = previous.text.media.len();
        if description.media.len() < expected {
            return Err(JsepError::SectionCount {
                given: description.media.len(),
                expected,
            });
        }
        for (index, (old, new)) in previous.text.media.iter().zip(&description.media).enumerate() {
            if !self.is_recyclable(index) {
                check_same(index, old, new)?;
            }
        }
        Ok(())
    }

    /// RFC 3264 §6: one section for each, of the same kind, and nothing accepted that was not offered.
    fn check_answer(&self, description: &SessionDescription) -> Result<(), JsepError> {
        let Some(offer) = &self.pending_local else {
            return Err(JsepError::set(false, SdpType::Answer, self.signaling));
        };
        let offer = &offer.text;
        if description.media.len() != offer.media.len() {
            return Err(JsepError::SectionCount {
                given: description.media.len(),
                expected: offer.media.len(),
            });
        }
        for (index, (offered, answered)) in offer.media.iter().zip(&description.media).enumerate() {
            check_same(index, offered, answered)?;
            if answered.is_rejected() {
                continue;
            }
            if offered.is_rejected() {
                return Err(JsepError::SectionMismatch {
                    index,
                    reason: "accepted although it was not offered",
                });
            }
            if matches!(Content::of(offered), Content::Media(_)) {
                // RFC 3264 §6.1, table 1.
                let allowed = offer.direction_of(offered).reversed();
                let given = description.direction_of(answered);
                if given.intersect(allowed) != given {
                    return Err(JsepError::Direction {
                        mid: label(description, index),
                    });
                }
            }
        }
        Ok(())
    }

    /// RFC 8842 §5.5: other fingerprints mean another DTLS association.
    fn check_transport(&self, remote: &RemoteTransport) -> Result<(), JsepError> {
        let transport = &self.session.transport;
        let Some(old) = transport.remote.as_ref().filter(|_| !transport.bundle.is_empty()) else {
            return Ok(());
        };
        let within =
            |a: &RemoteTransport, b: &RemoteTransport| a.fingerprints.iter().all(|own| b.fingerprints.contains(own));
        if within(old, remote) && within(remote, old) {
            Ok(())
        } else {
            Err(JsepError::FingerprintChanged)
        }
    }

    /// RFC 8842 §5.2, §5.3: who is DTLS client. Once it is settled, it stays.
    fn take_setup(&mut self, kind: SdpType, description: &SessionDescription, tagged: usize) -> Result<(), JsepError> {
        let refuse = |reason| JsepError::Setup {
            mid: label(description, tagged),
            reason,
        };
        let role = match (survey::setup(description, tagged), kind) {
            (Some(Setup::HoldConn), _) => return Err(refuse("holdconn")),
            (Some(Setup::Active), _) => DtlsRole::Server,
            (Some(Setup::Passive), _) => DtlsRole::Client,
            // An offer leaves it to us; one that is silent is taken to do so too.
            (Some(Setup::ActPass) | None, SdpType::Offer) => return Ok(()),
            (Some(Setup::ActPass), _) => return Err(refuse("an answer cannot be actpass")),
            // RFC 4145 §4.1: an answer that is silent is active.
            (None, _) => DtlsRole::Server,
        };
        match self.session.transport.dtls_role {
            // Firefox answers an ICE restart with `active` whatever its role is, and keeps the association that it has.
            // Other fingerprints would have been refused above, so ours stays as well.
            Some(own) if own != role && kind != SdpType::Offer => Ok(()),
            Some(own) if own != role => Err(JsepError::DtlsRoleChanged { wanted: role }),
            // From an offer it only binds our answer, which writes it down.
            _ if kind == SdpType::Offer => Ok(()),
            _ => {
                self.session.transport.dtls_role = Some(role);
                Ok(())
            }
        }
    }

    /// RFC 8445 §6.1.1: the offerer controls; a full agent controls a lite one.
    fn choose_ice_role(&mut self, by_offer: IceRole) {
        let transport = &mut self.session.transport;
        let remote_lite = transport.remote.as_ref().map(|remote| remote.lite);
        let role = match (transport.local_lite, remote_lite) {
            (false, Some(true)) => IceRole::Controlling,
            (true, Some(false)) => IceRole::Controlled,
            _ => transport.ice_role.unwrap_or(by_offer),
        };
        transport.ice_role = Some(role);
    }

    /// RFC 9429 §5.10: gives each offered media section its transceiver.
    fn take_offer(&mut self, described: &Described) {
        let description = Arc::clone(&described.text);
        for (index, media) in description.media.iter().enumerate() {
            let Content::Media(kind) = Content::of(media) else {
                continue;
            };
            let mid = self.mid_of(&description, index);
            let usable = described.members.contains(&index);
            let known = self
                .transceiver_at(index)
                .filter(|transceiver| transceiver.kind == kind && !self.is_recyclable(index))
                .map(|transceiver| transceiver.id);
            let offered = description.direction_of(media);
            let id = match known {
                Some(id) => id,
                None if !usable => continue,
                None => {
                    // Only what `add_track` made, and only if the peer will take what it sends.
                    let fits = |transceiver: &&Transceiver| {
                        transceiver.kind == kind
                            && transceiver.from_add_track
                            && transceiver.state.m_line_index.is_none()
                            && !transceiver.state.stopped
                            && !transceiver.stopping
                            && offered.receives()
                    };
                    match self.transceivers.iter().find(fits) {
                        Some(transceiver) => transceiver.id,
                        None => self.make_transceiver(kind),
                    }
                }
            };
            let default_stream = self.default_stream.clone();
            let Some(transceiver) = self.by_id(id) else { continue };
            transceiver.state.m_line_index = Some(index);
            transceiver.state.mid = mid;
            note_track(
                &mut transceiver.state,
                media,
                usable && offered.sends(),
                &default_stream,
            );
        }
    }

    fn make_transceiver(&mut self, kind: crate::types::MediaKind) -> TransceiverId {
        let id = TransceiverId(self.next_id);
        self.next_id += 1;
        self.transceivers.push(Transceiver {
            id,
            kind,
            // RFC 9429 §5.10: made by a description, it only receives until the application says more.
            direction: Direction::RecvOnly,
            sender: Sender::default(),
            receive_rids: Vec::new(),
            from_add_track: false,
            from_remote: true,
            stopping: false,
            codec_preferences: Vec::new(),
            state: Negotiated::default(),
        });
        id
    }

    /// Brings an answer, provisional or not, into force (RFC 9429 §5.11).
    fn answer(&mut self, local: bool, described: Described) -> Result<(), JsepError> {
        let offer = if local {
            self.pending_remote.take()
        } else {
            self.pending_local.take()
        };
        let Some(offer) = offer else {
            return Err(JsepError::set(local, described.kind, self.signaling));
        };
        let answer = Arc::clone(&described.text);
        let (ours, theirs) = if local {
            (&described, &offer)
        } else {
            (&offer, &described)
        };
        let congestion_feedback = ours.agrees_on_congestion_feedback(theirs);
        let (ours, theirs) = (&ours.text, &theirs.text);
        let mut data = None;
        for (index, answered) in answer.media.iter().enumerate() {
            let pair = Pair {
                local: ours,
                remote: theirs,
                index,
                congestion_feedback,
            };
            let accepted = !answered.is_rejected();
            match Content::of(answered) {
                Content::Data => {
                    let active = data.as_ref().is_some_and(|own: &crate::plan::DataPlan| own.active);
                    if !active {
                        data = Some(pair.data(self.name_of(ours, index), accepted));
                    }
                }
                Content::Media(_) => {
                    let answered_direction = answer.direction_of(answered);
                    let direction = if local {
                        answered_direction
                    } else {
                        answered_direction.reversed()
                    };
                    let default_stream = self.default_stream.clone();
                    if let Some(transceiver) = self.transceiver_at_mut(index) {
                        agree(transceiver, &pair, accepted.then_some(direction), &default_stream);
                    }
                }
                Content::Unknown => {}
            }
        }
        self.session.data = data;
        self.session.transport.bundle = described
            .members
            .iter()
            .map(|&index| self.name_of(ours, index))
            .collect();
        let finished = described.kind == SdpType::Answer;
        if finished {
            let old = self.stable.take();
            let old_local = old.and_then(|stable| stable.session.transport.local);
            // With nothing left on the transport there is nothing to restart either.
            if old_local != self.session.transport.local || described.members.is_empty() {
                self.ice_restart_wanted = false;
            }
            self.signaling = SignalingState::Stable;
            let (current_local, current_remote) = if local { (described, offer) } else { (offer, described) };
            self.current_local = Some(current_local);
            self.current_remote = Some(current_remote);
            self.pending_local = None;
            self.pending_remote = None;
            self.note_extension_ids();
        } else if local {
            self.pending_remote = Some(offer);
            self.pending_local = Some(described);
            self.signaling = SignalingState::HaveLocalPrAnswer;
        } else {
            self.pending_local = Some(offer);
            self.pending_remote = Some(described);
            self.signaling = SignalingState::HaveRemotePrAnswer;
        }
        Ok(())
    }
}

/// Notes what the peer says of its track (RFC 9429 §5.10; W3C "process remote tracks").
fn note_track(state: &mut Negotiated, remote: &MediaDescription, receiving: bool, default_stream: &str) {
    state.receiving = receiving;
    if !receiving {
        state.remote_streams.clear();
        return;
    }
    let mut msids: Vec<Msid<'_>> = remote.section.msids().take(MAX_MSIDS).collect();
    if msids.is_empty() {
        // Peers from before `a=msid` say it of their SSRCs.
        let of_sources = remote.section.ssrcs().filter(|line| line.attribute == "msid");
        msids = of_sources
            .take(MAX_MSIDS)
            .filter_map(|line| Msid::parse(line.value?))
            .collect();
    }
    let mut streams: Vec<String> = Vec::new();
    if msids.is_empty() {
        // RFC 8830 §3.1: tracks of which nothing is said are together in one stream.
        streams.push(default_stream.to_owned());
    }
    for msid in &msids {
        // RFC 8830 §2: "-" is a track without a stream.
        if msid.stream != "-" && !streams.iter().any(|own| own == msid.stream) {
            streams.push(msid.stream.to_owned());
        }
    }
    state.remote_track = msids
        .iter()
        .find_map(|msid| msid.track)
        .map(|track| track.chars().take(256).collect());
    state.remote_streams = streams;
}

/// Brings one media section into force; `direction` is ours, `None` for a refused section.
fn agree(transceiver: &mut Transceiver, pair: &Pair<'_>, direction: Option<Direction>, default_stream: &str) {
    let state = &mut transceiver.state;
    let Some(direction) = direction else {
        // W3C: a refused section stops its transceiver.
        state.stopped = true;
        state.receiving = false;
        state.remote_streams.clear();
        state.current_direction = None;
        state.send = None;
        state.receive = None;
        return;
    };
    state.current_direction = Some(direction);
    state.send = direction.sends().then(|| pair.send());
    state.receive = direction.receives().then(|| pair.receive());
    let remote = &pair.remote.media[pair.index];
    note_track(state, remote, direction.receives(), default_stream);
}

fn check_same(index: usize, old: &MediaDescription, new: &MediaDescription) -> Result<(), JsepError> {
    let reason = if old.line.media() != new.line.media() {
        "another kind of media"
    } else if let (Some(old), Some(new)) = (old.section.mid(), new.section.mid())
        && old != new
    {
        "another mid"
    } else {
        return Ok(());
    };
    Err(JsepError::SectionMismatch { index, reason })
}

/// What an application may not change in a description that we made: its sections, and all of the transport. Codecs,
/// directions, parameters and the like may be edited: the plan is drawn from the text that is set.
fn check_created(made: &SessionDescription, set: &SessionDescription) -> Result<(), JsepError> {
    let differ = |reason| Err(JsepError::Modified { reason });
    if made.media.len() != set.media.len() {
        return differ("the number of sections");
    }
    for (index, (own, other)) in made.media.iter().zip(&set.media).enumerate() {
        if own.line.media() != other.line.media() || own.section.mid() != other.section.mid() {
            return differ("a section's kind or mid");
        }
        if own.is_rejected() != other.is_rejected() {
            return differ("whether a section is rejected");
        }
        if own.is_rejected() {
            continue;
        }
        if survey::credentials(made, index) != survey::credentials(set, index) {
            return differ("the ICE credentials");
        }
        if survey::fingerprints(made, index) != survey::fingerprints(set, index) {
            return differ("the fingerprints");
        }
    }
    Ok(())
}
