//! Why a call is refused.

/// Why a [`Router`](super::Router) refused a call. Then nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer was not added, or is gone.
    #[error("there is no such peer")]
    NoPeer,
    /// The producer was closed, by a call or because its peer or transceiver is gone.
    #[error("there is no such producer")]
    NoProducer,
    /// The consumer was closed, by a call or because its producer, peer or transceiver is gone.
    #[error("there is no such consumer")]
    NoConsumer,
    /// A producer takes the packets of this transceiver already.
    #[error("the transceiver has a producer already")]
    ProducerExists,
    /// A consumer sends on this encoding already.
    #[error("the encoding has a consumer already")]
    ConsumerExists,
    /// A track of sound was to go on as pictures, or pictures as sound.
    #[error("the producer is of the other kind of media")]
    Kind,
    /// What the producer may send is in no codec that was negotiated with the consumer.
    #[error("producer and consumer have no codec in common")]
    NoCodec,
    /// A pipe gets all of its producer: no layer of it can be wished.
    #[error("a pipe gets all of its producer")]
    Pipe,
    /// The call is for producers and consumers without a peer, and this one has one.
    #[error("the producer or consumer has a peer")]
    HasPeer,
    /// As many peers, producers or consumers are there as there may be.
    #[error("the router is full")]
    Full,
}
