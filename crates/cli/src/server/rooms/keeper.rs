//! Who is let into a room, under which name, and what for.

use std::time::SystemTime;

use super::refusal::Refusal;
use crate::names;
use crate::token::{Grant, Rights, Secret, TokenError};

/// Somebody who may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::server) struct Admission {
    /// What the others call it.
    pub(in crate::server) name: String,
    /// What it may do.
    pub(in crate::server) rights: Rights,
}

/// Lets people into rooms: everybody, or with a secret those who show a token that it has signed.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Keeper(Option<Secret>);

impl Keeper {
    pub(in crate::server) fn new(secret: Option<Secret>) -> Self {
        Self(secret)
    }

    /// Whether a token is needed at all.
    pub(super) fn asks_for_tokens(&self) -> bool {
        self.0.is_some()
    }

    /// Whether somebody may be told who is in `room`; `None`: in all rooms, which no token is for.
    pub(super) fn may_look(&self, room: Option<&str>, token: Option<&str>, now: SystemTime) -> Result<(), Refusal> {
        match (&self.0, room, token) {
            (None, ..) => Ok(()),
            (Some(secret), Some(room), Some(token)) => Ok(Grant::check(token, secret, room, now).map(|_| ())?),
            (Some(_), ..) => Err(TokenError::Missing.into()),
        }
    }

    /// Whether somebody may come into `room`. A token that says how its bearer is called is believed more than the bearer.
    pub(super) fn admit(
        &self,
        room: &str,
        name: &str,
        token: Option<&str>,
        now: SystemTime,
    ) -> Result<Admission, Refusal> {
        if !names::is_room(room) {
            return Err(Refusal::RoomName);
        }
        let grant = match (&self.0, token) {
            (None, _) => None,
            (Some(_), None) => return Err(TokenError::Missing.into()),
            (Some(secret), Some(token)) => Some(Grant::check(token, secret, room, now)?),
        };
        let called = grant.as_ref().and_then(Grant::called).unwrap_or(name);
        Ok(Admission {
            name: names::person(called).ok_or(Refusal::PersonName)?,
            rights: grant.as_ref().map_or(Rights::ALL, Grant::rights),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Right;

    fn token(secret: &Secret, name: Option<&str>, may: Option<Vec<Right>>) -> String {
        let grant = Grant {
            room: "stage".to_owned(),
            name: name.map(str::to_owned),
            sub: None,
            exp: 4e9,
            nbf: None,
            may,
            aud: None,
        };
        grant.sign(secret)
    }

    #[test]
    fn without_a_secret_everybody_may_everything() {
        let admitted = Keeper::default()
            .admit("stage", " Ada ", None, SystemTime::now())
            .unwrap();
        assert_eq!((admitted.name.as_str(), admitted.rights), ("Ada", Rights::ALL));
        // What it is told besides does not matter then.
        let admitted = Keeper::default().admit("stage", "Ada", Some("nonsense"), SystemTime::now());
        assert!(admitted.is_ok());
    }

    #[test]
    fn with_a_secret_the_token_says_who_comes_and_what_for() {
        let secret = Secret::new(&[7; 32]).unwrap();
        let keeper = Keeper::new(Some(secret.clone()));
        let admit = |token: Option<&str>| keeper.admit("stage", "Mallory", token, SystemTime::now());
        assert!(matches!(admit(None), Err(Refusal::Token(TokenError::Missing))));
        let admitted = admit(Some(&token(&secret, Some("Ada"), Some(vec![Right::Watch])))).unwrap();
        assert_eq!(admitted.name, "Ada");
        assert!(admitted.rights.watch && !admitted.rights.publish && !admitted.rights.record);
        let admitted = admit(Some(&token(&secret, None, None))).unwrap();
        assert_eq!(admitted.name, "Mallory", "who has no name in the token chooses one");
        let unseen = admit(Some(&token(&secret, Some("\u{202e}"), None)));
        assert!(matches!(unseen, Err(Refusal::PersonName)));
        let other = Secret::new(&[8; 32]).unwrap();
        let forged = admit(Some(&token(&other, Some("Ada"), None)));
        assert!(matches!(forged, Err(Refusal::Token(TokenError::Forged))));
    }
}
