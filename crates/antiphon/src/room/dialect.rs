//! How a client reads our offers and writes its answers: in Unified Plan, or in Plan B.

use antiphon_jsep::MediaKind;
use antiphon_jsep::plan_b::{PlanB, PlanBStyle};
use antiphon_peer_connection::RtcSessionDescription;

use super::error::Error;
use super::offer::Limits;

/// The manner of descriptions of one client.
#[derive(Clone, Debug, Default)]
pub(super) struct Dialect {
    /// What is settled with a client that speaks Plan B; it is taken further with each exchange.
    plan_b: Option<PlanB>,
}

/// An answer as the connection below takes it.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) answer: RtcSessionDescription,
    /// Tracks of the client for which the offer has no section.
    pub(super) left_over: Vec<MediaKind>,
    /// What is settled once the answer is set.
    pub(super) then: Dialect,
}

impl Dialect {
    pub(super) fn new(use_plan_b: bool) -> Self {
        Self {
            plan_b: use_plan_b.then(|| PlanB::new(PlanBStyle::MEDIASOUP)),
        }
    }

    /// Whether all tracks of a kind are in one section.
    pub(super) fn is_plan_b(&self) -> bool {
        self.plan_b.is_some()
    }

    /// Our offer as the client gets it.
    pub(super) fn show(&self, made: &RtcSessionDescription, limits: Limits) -> Result<RtcSessionDescription, Error> {
        let text = match self.plan_b.clone() {
            None => limits.write(&made.sdp),
            Some(mut plan_b) => limits.write(&plan_b.local_offer(&parsed(made)?)?.to_text()),
        };
        Ok(RtcSessionDescription::new(made.sdp_type, text))
    }

    /// The client's answer to `made`, of which it has what [`Self::show`] gave.
    pub(super) fn read(&self, made: &RtcSessionDescription, answer: RtcSessionDescription) -> Result<Read, Error> {
        let mut then = self.clone();
        then.give_up(made)?;
        then.read_again(made, answer)
    }

    /// The same answer to another offer, which the client has not got.
    pub(super) fn read_again(
        mut self,
        made: &RtcSessionDescription,
        answer: RtcSessionDescription,
    ) -> Result<Read, Error> {
        let Some(plan_b) = &mut self.plan_b else {
            return Ok(Read {
                answer,
                left_over: Vec::new(),
                then: self,
            });
        };
        let split = plan_b.remote_answer(&parsed(made)?, &parsed(&answer)?)?;
        Ok(Read {
            answer: RtcSessionDescription::from_parsed(answer.sdp_type, &split.description),
            left_over: split.left_over,
            then: self,
        })
    }

    /// The client has got an offer that counts no more: the next has a higher version.
    pub(super) fn give_up(&mut self, made: &RtcSessionDescription) -> Result<(), Error> {
        if let Some(plan_b) = &mut self.plan_b {
            plan_b.local_offer(&parsed(made)?)?;
        }
        Ok(())
    }
}

fn parsed(description: &RtcSessionDescription) -> Result<antiphon_jsep::SessionDescription, Error> {
    Ok(description.parsed().map_err(crate::Error::from)?)
}
