//! Sockets: UDP in batches, and TCP with TLS over it.

pub(crate) mod socket;
pub(crate) mod tcp;
