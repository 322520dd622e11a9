//! What a call can be refused for.

/// Why a call did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name of a node is empty, longer than 64 bytes, or has a character other than letters, digits, `-` and `_`.
    #[error("a node's name has 1 to 64 letters, digits, '-' or '_'")]
    NodeName,
    /// The name of a room is empty or longer than 255 bytes.
    #[error("a room's name has 1 to 255 bytes")]
    RoomName,
    /// The bus is away: nobody can be told of who joins. It works again when the bus is back.
    #[error("the other machines cannot be reached at the moment: the message bus is away; try again later")]
    BusAway,
    /// Somebody in the room has this name, here or on another node.
    #[error("somebody in the room has this name")]
    NameTaken,
    /// The peer is in the room already.
    #[error("the peer is in the room already")]
    PeerThere,
    /// There is no such peer of this node in the room.
    #[error("there is no such peer of this node")]
    NoPeer,
    /// There is no such track.
    #[error("there is no such track")]
    NoTrack,
    /// There is no such pipe, or it was closed meanwhile.
    #[error("there is no such pipe any more")]
    NoPipe,
    /// The description belongs to an exchange that is over.
    #[error("the description is not the one that was asked for")]
    OtherExchange,
    /// A limit is reached; the text names it.
    #[error("there are too many {0}")]
    TooMany(&'static str),
    /// A text is longer than its limit; the text names which.
    #[error("the {0} is too long")]
    TooLong(&'static str),
    /// The machine is closed.
    #[error("this node has left the cluster")]
    Closed,
}
