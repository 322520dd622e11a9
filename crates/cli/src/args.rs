//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// WebRTC from scratch: video, sound and data between browsers and this program.
#[derive(Debug, Parser)]
#[command(
    name = "antiphon",
    version,
    after_help = "Without a command: serve.\n\n\
        Try it:\n  antiphon                                   then open http://127.0.0.1:8080\n  \
        antiphon serve --listen 0.0.0.0:8080       for other machines\n  \
        antiphon serve --listen 0.0.0.0:8443 --tls and their cameras, which need HTTPS\n  \
        antiphon serve --udp-port 5000             all media on one UDP port, for firewalls\n\n\
        RUST_LOG=antiphon=debug tells more."
)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `serve`, for when no command is given.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the page, its signalling, and WHEP and WHIP endpoints.
    ///
    /// The page shows a test pattern with music that is encoded live, echoes camera and microphone, and moves chat and files over
    /// data channels. Players watch at /whep, publishers send to /whip.
    #[command(after_help = "Examples:\n  \
        antiphon serve\n  \
        antiphon serve --listen [::1]:9000\n  \
        antiphon serve --udp-port 0 --max-sessions 500\n\n\
        Publish with a WHIP client to http://ADDRESS/whip; every WHEP player at http://ADDRESS/whep then sees it\n\
        (?source=pattern or ?source=whip to choose).")]
    Serve(ServeArgs),
}

/// Flags of `serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Where the page and its signalling are served (TCP).
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// One UDP port for the media of all sessions; 0 picks a free one. Without it each session has ports of its own.
    #[arg(long, value_name = "PORT")]
    pub udp_port: Option<u16>,
    /// STUN and TURN servers, to be reached from outside a NAT: stun:HOST, turn:HOST:3478?transport=udp, turns:HOST. Repeatable.
    #[arg(long = "ice-server", value_name = "URL")]
    pub ice_servers: Vec<String>,
    /// The user name for the TURN servers.
    #[arg(long, value_name = "NAME", requires = "ice_password")]
    pub ice_username: Option<String>,
    /// The password for the TURN servers; better in the environment than on the command line, which others can read.
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "ANTIPHON_ICE_PASSWORD",
        hide_env_values = true,
        requires = "ice_username"
    )]
    pub ice_password: Option<String>,
    /// Media through the TURN servers only (iceTransportPolicy "relay"): no peer learns this machine's addresses.
    #[arg(long, requires = "ice_servers")]
    pub relay_only: bool,
    /// Sessions at a time; more are refused.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_sessions: usize,
    /// Serve over HTTPS, with a certificate that is made now (browsers warn) unless --tls-cert names one.
    #[arg(long)]
    pub tls: bool,
    /// PEM file with the certificate chain; implies --tls.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file with the certificate's key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn serve_is_what_happens_without_a_command() {
        let bare = Args::parse_from(["antiphon"]);
        assert!(bare.command.is_none());
        assert_eq!(bare.serve.listen, "127.0.0.1:8080".parse().unwrap());
        let flags = Args::parse_from(["antiphon", "--udp-port", "0"]);
        assert_eq!(flags.serve.udp_port, Some(0));
        let Some(Command::Serve(serve)) = Args::parse_from(["antiphon", "serve", "--listen", "[::1]:9"]).command else {
            panic!("serve")
        };
        assert_eq!(serve.listen, "[::1]:9".parse().unwrap());
    }
}
