//! What a TURN server does for its processor time: relaying over loopback, by the server of this build, by other
//! `antiphon` programs and by coturn, which take turns in one run.
//!
//! A server is a process of its own, and what it used is read from the system, kernel included. This process is the
//! clients and their peers. What counts is what arrived: a server that drops does not gain by it.
//!
//!     cargo bench -p antiphon-benches --bench turn -- --beside-coturn --beside OTHER_ANTIPHON
#![allow(missing_docs, clippy::disallowed_methods)]

#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod servers;
#[cfg(target_os = "linux")]
mod table;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    table::run(std::env::args().skip(1))
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("not measured: the processor time of another process is read as Linux tells it");
}
