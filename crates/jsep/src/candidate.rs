//! Candidates that come after their description (RFC 8838, RFC 9429 §3.5).

use std::sync::Arc;

use antiphon_sdp::{Candidate, Line};

use crate::error::JsepError;
use crate::state::{Described, State};
use crate::survey;
use crate::types::{IceCandidate, RemoteCandidate};

/// How many trickled candidates a description keeps.
const MAX_KEPT: usize = 128;

fn ufrag_of(described: &Described, index: usize) -> Option<String> {
    survey::credentials(&described.text, index).map(|ice| ice.ufrag)
}

impl IceCandidate {
    /// The attribute's value; empty for the end of candidates.
    fn value(&self) -> &str {
        let text = self.candidate.trim();
        text.strip_prefix("candidate:").unwrap_or(text)
    }

    fn parse(&self) -> Result<Option<Candidate<'_>>, JsepError> {
        match self.value() {
            "" => Ok(None),
            text => Candidate::parse(text).map(Some).ok_or(JsepError::CandidateSyntax),
        }
    }

    /// Whether it can be read at all, for who keeps it until there is a description to place it in.
    ///
    /// # Errors
    /// [`JsepError::CandidateSyntax`].
    pub fn check_syntax(&self) -> Result<(), JsepError> {
        self.parse().map(drop)
    }
}

impl State {
    pub(crate) fn add_remote_candidate(
        &mut self,
        candidate: &IceCandidate,
    ) -> Result<Option<RemoteCandidate>, JsepError> {
        let latest = self.remote().ok_or(JsepError::NoRemoteDescription)?;
        let text = candidate.value();
        let sections = &latest.text.media;
        let index = match (&candidate.sdp_mid, candidate.sdp_m_line_index) {
            (Some(mid), _) => Some(latest.text.media_by_mid(mid).ok_or(JsepError::CandidateSection)?.0),
            (None, Some(index)) if usize::from(index) < sections.len() => Some(usize::from(index)),
            (None, Some(_)) => return Err(JsepError::CandidateSection),
            // W3C: only the end of all candidates needs no section.
            (None, None) if text.is_empty() => latest.tagged,
            (None, None) => return Err(JsepError::CandidateSection),
        };
        let parsed = candidate.parse()?;
        let (Some(index), Some(tagged)) = (index, latest.tagged) else {
            return Ok(None);
        };
        let named = candidate
            .username_fragment
            .as_deref()
            .filter(|ufrag| !ufrag.is_empty())
            .or_else(|| parsed.and_then(|parsed| parsed.extension("ufrag")));
        // W3C: it must belong to a generation that a remote description has, pending or current.
        let generations = [self.pending_remote.as_ref(), self.current_remote.as_ref()];
        if let Some(named) = named
            && !generations.iter().flatten().any(|described| {
                described.text.media.get(index).is_some() && ufrag_of(described, index).as_deref() == Some(named)
            })
        {
            return Err(JsepError::CandidateGeneration);
        }
        let shared = ufrag_of(latest, tagged);
        let own = named.map(str::to_owned).or_else(|| ufrag_of(latest, index));
        // Not for our transport: a refused section, or one that had a transport of its own before it was bundled.
        let on_transport = latest.members.contains(&index)
            && generations.iter().flatten().any(|described| {
                described
                    .tagged
                    .is_some_and(|tagged| ufrag_of(described, tagged) == own)
            });
        if !on_transport || parsed.is_some_and(|parsed| parsed.component != 1) {
            return Ok(None);
        }
        let mid = sections[index].section.mid().map(str::to_owned);
        let line = match text {
            "" => Line::new('a', "end-of-candidates"),
            text => Line::new('a', format!("candidate:{text}")),
        };
        for described in [&mut self.pending_remote, &mut self.current_remote]
            .into_iter()
            .flatten()
        {
            let Some(tagged) = described.tagged else { continue };
            if ufrag_of(described, tagged) == own {
                append(described, tagged, &line);
            }
        }
        Ok(Some(RemoteCandidate {
            candidate: text.to_owned(),
            mid,
            m_line_index: u16::try_from(index).unwrap_or(u16::MAX),
            username_fragment: own.or(shared),
        }))
    }

    /// Enters a line into every local description of that generation; `None` if there is none.
    pub(crate) fn add_local_line(&mut self, value: &str, line: &Line, ufrag: &str) -> Option<IceCandidate> {
        let mut event = None;
        for described in [&mut self.pending_local, &mut self.current_local].into_iter().flatten() {
            let Some(tagged) = described.tagged else { continue };
            if ufrag_of(described, tagged).as_deref() != Some(ufrag) {
                continue;
            }
            append(described, tagged, line);
            event.get_or_insert_with(|| IceCandidate {
                candidate: value.to_owned(),
                sdp_mid: described.text.media[tagged].section.mid().map(str::to_owned),
                sdp_m_line_index: u16::try_from(tagged).ok(),
                username_fragment: Some(ufrag.to_owned()),
            });
        }
        event
    }
}

fn append(described: &mut Described, index: usize, line: &Line) {
    let section = &described.text.media[index].section;
    let present = section.lines().contains(line);
    let kept = section.values("candidate").count();
    if !present && kept < MAX_KEPT {
        Arc::make_mut(&mut described.text).media[index]
            .section
            .push(line.clone());
    }
}
