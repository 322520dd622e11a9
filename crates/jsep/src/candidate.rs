//! Candidates that come after their description (RFC 8838, RFC 9429 §3.5).

use std::sync::Arc;

use antiphon_sdp::{Candidate, Line, SessionDescription};

use crate::error::JsepError;
use crate::state::{Described, State};
use crate::survey;
use crate::types::{IceCandidate, RemoteCandidate};

/// How many trickled candidates a description keeps.
const MAX_KEPT: usize = 128;

/// The user name fragment in force for a section: its own, else that of the transport that it is bundled on.
fn ufrag_of(described: &Described, index: usize) -> Option<String> {
    let bundled = described.tagged.filter(|_| described.members.contains(&index));
    survey::credentials(&described.text, index)
        .or_else(|| survey::credentials(&described.text, bundled?))
        .map(|ice| ice.ufrag)
}

impl IceCandidate {
    /// The same, in one form: the attribute's value alone, without `a=`, `candidate:` and needless blanks; an empty mid
    /// or user name fragment is none.
    ///
    /// # Errors
    /// [`JsepError::CandidateSyntax`].
    pub fn normalized(&self) -> Result<Self, JsepError> {
        let text = self.candidate.trim();
        let text = text.strip_prefix("a=").unwrap_or(text);
        let text = text.strip_prefix("candidate:").unwrap_or(text);
        // A candidate is one line: what stands in a second one is not part of it.
        if text.trim().contains(['\r', '\n', '\0']) {
            return Err(JsepError::CandidateSyntax);
        }
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let normalized = Self {
            candidate: words.join(" "),
            sdp_mid: filled(&self.sdp_mid),
            sdp_m_line_index: self.sdp_m_line_index,
            username_fragment: filled(&self.username_fragment),
        };
        normalized.parse()?;
        Ok(normalized)
    }

    /// Whether it is the end of candidates (RFC 8838 §13), in any of the forms in which it is written.
    pub fn is_end(&self) -> bool {
        let text = self.candidate.trim();
        matches!(text, "" | "candidate:" | "a=candidate:")
    }

    fn parse(&self) -> Result<Option<Candidate<'_>>, JsepError> {
        match self.candidate.as_str() {
            "" => Ok(None),
            text => Candidate::parse(text).map(Some).ok_or(JsepError::CandidateSyntax),
        }
    }
}

impl State {
    pub(crate) fn add_remote_candidate(
        &mut self,
        candidate: &IceCandidate,
    ) -> Result<Option<RemoteCandidate>, JsepError> {
        let latest = self.remote().ok_or(JsepError::NoRemoteDescription)?;
        let candidate = candidate.normalized()?;
        let (text, parsed) = (candidate.candidate.as_str(), candidate.parse()?);
        let named = candidate
            .username_fragment
            .as_deref()
            .or_else(|| parsed.and_then(|parsed| parsed.extension("ufrag")));
        // W3C: it must belong to a generation that a remote description has, pending or current.
        let generations = [self.pending_remote.as_ref(), self.current_remote.as_ref()];
        let has = |named: &str, index: usize| {
            generations.iter().flatten().any(|described| {
                described.text.media.get(index).is_some() && ufrag_of(described, index).as_deref() == Some(named)
            })
        };
        let sections = &latest.text.media;
        if let Some(named) = named
            && !(0..sections.len()).any(|index| has(named, index))
        {
            return Err(JsepError::CandidateGeneration);
        }
        let index = match (&candidate.sdp_mid, candidate.sdp_m_line_index) {
            (Some(mid), _) => Some(self.section_of(&latest.text, mid).ok_or(JsepError::CandidateSection)?),
            (None, Some(index)) if usize::from(index) < sections.len() => Some(usize::from(index)),
            (None, Some(_)) => return Err(JsepError::CandidateSection),
            // W3C: only the end of all candidates needs no section.
            (None, None) if text.is_empty() => latest.tagged,
            (None, None) => return Err(JsepError::CandidateSection),
        };
        let (Some(index), Some(tagged)) = (index, latest.tagged) else {
            return Ok(None);
        };
        if sections[index].is_rejected() {
            return Ok(None);
        }
        if named.is_some_and(|named| !has(named, index)) {
            return Err(JsepError::CandidateSection);
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
        let mid = self.mid_of(&latest.text, index);
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

    /// The section with this mid, generated mids among them.
    fn section_of(&self, description: &SessionDescription, mid: &str) -> Option<usize> {
        let generated = |(index, own): (&usize, &String)| {
            let given = description.media.get(*index)?.section.mid();
            (given.is_none() && own == mid).then_some(*index)
        };
        let written = description.media_by_mid(mid).map(|(index, _)| index);
        written.or_else(|| self.generated_mids.iter().find_map(generated))
    }

    /// Enters a line into every local description of that generation; `None` if there is none.
    pub(crate) fn add_local_line(&mut self, value: &str, line: &Line, ufrag: &str) -> Option<IceCandidate> {
        let mut event = None;
        let generated = &self.generated_mids;
        let mid = |text: &SessionDescription, index: usize| {
            let own = text.media[index].section.mid();
            own.map(str::to_owned).or_else(|| generated.get(&index).cloned())
        };
        for described in [&mut self.pending_local, &mut self.current_local].into_iter().flatten() {
            let Some(tagged) = described.tagged else { continue };
            if ufrag_of(described, tagged).as_deref() != Some(ufrag) {
                continue;
            }
            append(described, tagged, line);
            event.get_or_insert_with(|| IceCandidate {
                candidate: value.to_owned(),
                sdp_mid: mid(&described.text, tagged),
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
