//! What a peer connection reports to the application.
