//! The command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use antiphon::Congestion;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand};

use crate::link::LinkSpec;
use crate::sources::VideoCodec;
use crate::stream::{PatternArgs, PlayArgs, RecordArgs};
use crate::token::{SecretText, TokenArgs, text_or_file};
use crate::turn::TurnArgs;

/// WebRTC from scratch: video, audio and data between browsers and this program.
#[derive(Debug, Parser)]
#[command(
    name = "antiphon",
    version,
    after_help = "Without a command: serve.\n\n\
        Try it:\n  antiphon                                   then open http://127.0.0.1:8080\n  \
        antiphon serve --listen 0.0.0.0:8080       for other machines\n  \
        antiphon serve --listen 0.0.0.0:8443 --tls and their cameras, which need HTTPS\n  \
        antiphon serve --udp-port 5000             all media on one UDP port, for firewalls\n  \
        antiphon send photos/                      to another machine, which runs antiphon recv\n  \
        antiphon play film.webm stage              to whoever watches /whep/stage\n  \
        antiphon record stage stage.webm           what is published there\n\n\
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
        antiphon serve --udp-port 0 --max-sessions 500\n  \
        antiphon serve --link rate=1000,delay=25,queue=300,loss=1   as over a poor line: the page plots what the sender makes of it\n  \
        antiphon serve --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem --allow-host media.example.org\n\n\
        Publish with a WHIP client to http://ADDRESS/whip; every WHEP player at http://ADDRESS/whep then sees it. Streams can have\n\
        names: /whip/NAME and /whep/NAME. On a server that strangers reach, ANTIPHON_WHIP_TOKEN decides who publishes.")]
    Serve(Box<ServeArgs>),
    /// Play a file to a WHIP server: publish it as it is, at its own pace, without encoding anything anew.
    ///
    /// The first picture track and the first sound track that WebRTC carries are sent (VP8, VP9, AV1, H.264, H.265; Opus, G.711, G.722), in step.
    /// It ends with the file, or with Ctrl-C; the server hears that it is over.
    #[command(after_help = "Examples:\n  \
        antiphon play film.webm https://media.example.org/whip/stage --token SECRET\n  \
        antiphon play film.mp4 stage --loop             to /whip/stage of the antiphon serve on this machine\n  \
        antiphon play song.opus https://192.0.2.7:8443/whip --insecure --duration 60\n\n\
        Watch it at /whep/stage, for instance with antiphon record. ffmpeg makes a file that browsers play of any other:\n  \
        ffmpeg -i film.avi -c:v libvpx -b:v 2M -c:a libopus film.webm\n\n\
        Exit status: 0 when it was played, 1 with the reason on standard error, 2 for a wrong command line.")]
    Play(Box<PlayArgs>),
    /// Publish the test pattern and music to a WHIP server, the pictures in up to three sizes at once (simulcast, VP8).
    ///
    /// Each size is encoded as the server and the path want it: with the bits that there are, at fewer pictures a second where they are few,
    /// and not at all where nobody takes it. A forwarder chooses one of them for each watcher.
    #[command(after_help = "Examples:\n  \
        antiphon pattern stage                          three sizes to the antiphon serve on this machine\n  \
        antiphon pattern https://media.example.org/whip/stage --token SECRET --layers 2\n\n\
        Exit status: 0 when it was stopped, 1 with the reason on standard error, 2 for a wrong command line.")]
    Pattern(Box<PatternArgs>),
    /// Record what a WHEP server plays, as it comes: nothing is encoded anew.
    ///
    /// Ends with the stream, after --duration, or with Ctrl-C: the file is whole each time, and the server hears that it is over.
    #[command(after_help = "Examples:\n  \
        antiphon record https://media.example.org/whep/stage stage.webm --token SECRET\n  \
        antiphon record stage stage.mp4 --duration 60   from /whep/stage of the antiphon serve on this machine\n  \
        antiphon record 'http://127.0.0.1:8080/whep?source=pattern' pattern.webm\n  \
        antiphon record --room stage https://media.example.org stage-monday     a file for each participant of a room\n\n\
        Exit status: 0 with a whole file, 1 with the reason on standard error, 2 for a wrong command line.")]
    Record(Box<RecordArgs>),
    /// Send files and folders to another machine, from peer to peer.
    ///
    /// The two find each other by a line that is pasted each way, or by a code at a server: any `antiphon serve` does.
    /// A transfer whose connection breaks goes on where it was; both ends compute the SHA-256 of each file.
    #[command(after_help = "Examples:\n  \
        antiphon send holiday.mp4 photos/                       a line to paste, each way\n  \
        antiphon send --signal ws://192.0.2.7:8080 photos/      a code to tell\n\n\
        The page of `serve` sends and receives by the same codes. Whoever knows a code, or both lines, can be the other end:\n\
        tell them to nobody else. The server sees no file.")]
    Send(SendArgs),
    /// Make a token that lets its bearer into a room of a server that runs with `--jwt-secret`.
    ///
    /// It is a JSON Web Token, signed with HS256; any program that knows the secret can make them.
    #[command(after_help = "Examples:\n  \
        ANTIPHON_JWT_SECRET=@secret.txt antiphon token --room stage --name Ada\n  \
        antiphon token --secret @secret.txt --room stage --for 7d --may watch        a link for those who only look\n  \
        antiphon token --secret @secret.txt --room stage --may watch,record          for antiphon record --room\n\n\
        The page takes it from the link: https://media.example.org/?room=stage#token=TOKEN")]
    Token(Box<TokenArgs>),
    /// Run a STUN and TURN server: it tells clients behind NATs their addresses, and relays where no direct path exists.
    ///
    /// Serves UDP and TCP on --listen, and TLS on --tls-listen. Without --user it answers STUN Binding requests only.
    /// Relaying to loopback, private, link-local, multicast and reserved addresses is refused, so that the relay is no way
    /// around your firewall.
    #[command(after_help = crate::turn::EXAMPLES)]
    Turn(Box<TurnArgs>),
    /// Receive files and folders that `antiphon send` offers.
    #[command(after_help = "Examples:\n  \
        antiphon recv                                                      paste the sender's line\n  \
        antiphon recv --signal ws://192.0.2.7:8080 --code k7m2q-xd4ha --into inbox\n\n\
        Files that are there already are left alone: a file of the same name gets a number. What the sender calls its files never\n\
        leads out of the folder, nor does a link in it. Names that are hidden (.bashrc), acted upon (authorized_keys, desktop.ini) or\n\
        unclear are changed, and the question shows it. The sender hears nothing of what else is in the folder.")]
    Recv(RecvArgs),
}

/// How the two ends of a transfer meet.
#[derive(Clone, Debug, clap::Args)]
pub struct MeetArgs {
    /// Meet at this server (ws://, wss://, http://, https://) instead of pasting lines.
    #[arg(long, value_name = "URL")]
    pub signal: Option<String>,
    /// The code at the server; the sender makes one up if none is given. Whoever guesses it is the other end: one of your own needs
    /// 10 letters and digits at least, and no pattern.
    #[arg(long, value_name = "CODE", requires = "signal")]
    pub code: Option<String>,
    /// STUN servers, to be found from outside a NAT, for example stun:stun.example.org:3478.
    #[arg(long = "ice-server", value_name = "URL")]
    pub ice_servers: Vec<String>,
    /// Loopback addresses too: both ends on one machine.
    #[arg(long)]
    pub loopback: bool,
    /// How this machine is reached.
    #[command(flatten)]
    pub reach: crate::reach::ReachArgs,
}

/// Flags of `send`.
#[derive(Clone, Debug, clap::Args)]
pub struct SendArgs {
    /// Files and folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How to meet.
    #[command(flatten)]
    pub meet: MeetArgs,
}

/// Flags of `recv`.
#[derive(Clone, Debug, clap::Args)]
pub struct RecvArgs {
    /// The folder that everything goes into; it is made if it is not there.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub into: PathBuf,
    /// Replace files of the same name.
    #[arg(long)]
    pub overwrite: bool,
    /// Do not ask before receiving.
    #[arg(long, short)]
    pub yes: bool,
    /// How to meet.
    #[command(flatten)]
    pub meet: MeetArgs,
}

/// Flags of `serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Where the page and its signalling are served (TCP).
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The one UDP port for the media of all sessions; 0: the system chooses a free one. Without this flag it is the first free one of
    /// --ports, else as the system chooses. Rooms take up to 16 ports: of --ports, or else those after this one.
    #[arg(long, value_name = "PORT")]
    pub udp_port: Option<u16>,
    /// The video codec of the test pattern: vp8 (key frames alone), or h264, which looks as good at a fifth of the bitrate and needs a build
    /// with --features h264. Who does not take it gets the other one.
    #[arg(long, value_name = "CODEC", default_value = "vp8", value_parser = VideoCodec::named)]
    pub codec: VideoCodec,
    /// ICE-lite: only answer the connectivity checks of peers, and never send any. For a machine with a public address that every
    /// peer reaches directly (with --nat-address too): nobody can then use it to send anything to third parties.
    #[arg(long, conflicts_with_all = ["ice_servers", "relay_only", "hide_addresses"])]
    pub lite: bool,
    /// STUN and TURN servers, to be reached from outside a NAT: stun:HOST, turn:HOST:3478?transport=udp, turns:HOST. Repeatable.
    #[arg(long = "ice-server", value_name = "URL")]
    pub ice_servers: Vec<String>,
    /// The user name for the TURN servers.
    #[arg(long, value_name = "NAME", requires = "ice_password")]
    pub ice_username: Option<String>,
    /// The password for the TURN servers; better in the environment than on the command line, which others can read.
    #[arg(long, value_name = "PASSWORD", env = "ANTIPHON_ICE_PASSWORD", hide_env_values = true)]
    pub ice_password: Option<String>,
    /// Media through the TURN servers only (iceTransportPolicy "relay"): no peer learns this machine's addresses.
    #[arg(long, requires = "ice_servers")]
    pub relay_only: bool,
    /// How this machine is reached.
    #[command(flatten)]
    pub reach: crate::reach::ReachArgs,
    /// Put an emulated link between every session and its peer, to see what congestion control does: rate in kbit/s, delay in milliseconds
    /// each way, queue in milliseconds, loss in percent; each may be left out. It is for teaching and tests, and UDP alone goes over it. The
    /// page can choose another for its own session.
    #[arg(long, value_name = "rate=1000,delay=25,queue=300,loss=1")]
    pub link: Option<LinkSpec>,
    /// The congestion controller of what is sent: it finds out how much the path to a viewer carries. docs/congestion.md explains them, and
    /// the page can choose another for its own session and plots what it does; --link gives it something to do.
    #[arg(long, value_name = "CONTROLLER", default_value = Congestion::default().word(), value_parser = controllers())]
    pub congestion: Congestion,
    /// Sessions at a time; more are refused.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_sessions: usize,
    /// Sessions at a time from one IPv4 address, or one IPv6 network of 64 bits. Without it a quarter of --max-sessions, and all of
    /// them from 127.0.0.1 and ::1, where a proxy on this machine has them all. WebSockets are bounded likewise.
    #[arg(long, value_name = "N")]
    pub max_per_address: Option<usize>,
    /// The largest data channel message that is taken, in bytes. A session may use three times as much memory.
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024, value_parser = clap::value_parser!(u32).range(1024..=64 * 1024 * 1024))]
    pub max_message: u32,
    /// A name under which this server is reached, besides localhost and addresses; * for any. Repeatable. Requests to other names are
    /// refused, for any web page can let a name of its own resolve to this machine.
    #[arg(long = "allow-host", value_name = "NAME", help_heading = WHO)]
    pub allow_hosts: Vec<String>,
    // The text is the help of the command line, where the brackets of a link would be read as part of the origin.
    #[allow(rustdoc::bare_urls)]
    /// A web page elsewhere that may use this server, by its origin (https://studio.example.org); * for any. Repeatable. The server's
    /// own page and pages of the same machine always may.
    #[arg(long = "allow-origin", value_name = "ORIGIN", help_heading = WHO)]
    pub allow_origins: Vec<String>,
    /// The bearer token that publishers at /whip must show; better in ANTIPHON_WHIP_TOKEN, or @FILE, than on the command line, which
    /// others can read. Without it everybody who reaches the server may publish.
    #[arg(long, value_name = "TOKEN", value_parser = token, help_heading = WHO)]
    pub whip_token: Option<String>,
    /// The bearer token that players at /whep must show; better in ANTIPHON_WHEP_TOKEN, or @FILE.
    #[arg(long, value_name = "TOKEN", value_parser = token, help_heading = WHO)]
    pub whep_token: Option<String>,
    /// Lets nobody into a room without a token that this secret has signed (JSON Web Tokens, HS256; `antiphon token` makes them); 32 bytes
    /// at least. Better in ANTIPHON_JWT_SECRET, or @FILE, than on the command line, which others can read.
    #[arg(long, value_name = "SECRET|@FILE", help_heading = WHO)]
    pub jwt_secret: Option<SecretText>,
    /// Where Prometheus reads figures of rooms and what is forwarded in them: http://ADDRESS:PORT/metrics. Whoever reaches the address may.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<SocketAddr>,
    /// Rooms over several machines.
    #[command(flatten)]
    pub span: ClusterArgs,
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

impl ServeArgs {
    /// Takes the tokens that no flag gives from the environment, whose variables `variable` reads. The command line does not: these flags
    /// stand beside every command, and what is wrong with a token is no concern of `antiphon send`.
    ///
    /// # Errors
    /// Which variable holds no token, and why.
    pub fn read_tokens(&mut self, variable: impl Fn(&str) -> Option<OsString>) -> Result<(), String> {
        let read = |name: &str| {
            let text = variable(name).map(|value| value.into_string().unwrap_or_default());
            text.map(|text| token(&text).map_err(|why| format!("{name}: {why}")))
                .transpose()
        };
        if self.whip_token.is_none() {
            self.whip_token = read("ANTIPHON_WHIP_TOKEN")?;
        }
        if self.whep_token.is_none() {
            self.whep_token = read("ANTIPHON_WHEP_TOKEN")?;
        }
        if self.jwt_secret.is_none() {
            let text = variable("ANTIPHON_JWT_SECRET").map(|value| value.into_string().unwrap_or_default());
            self.jwt_secret = text.map(SecretText::from);
        }
        if self.span.cluster.is_none() {
            let text = variable("ANTIPHON_CLUSTER").map(|value| value.into_string().unwrap_or_default());
            self.span.cluster = text.map(ClusterUrl::from);
        }
        Ok(())
    }
}

/// How a server becomes a node of a cluster.
#[derive(Clone, Debug, clap::Args)]
pub struct ClusterArgs {
    /// Makes this server a node of a cluster, whose rooms are one on all nodes: where the NATS is that carries the nodes' messages
    /// (nats://HOST:PORT, or tls://HOST:PORT; several with commas between). With a password in it (nats://NAME:PASSWORD@HOST:PORT) better
    /// in ANTIPHON_CLUSTER than on the command line, which others can read.
    #[arg(long, value_name = "URL", help_heading = CLUSTER)]
    pub cluster: Option<ClusterUrl>,
    /// The name of this node in the cluster, which no other node has: letters, digits, - and _. Without it a random one.
    #[arg(long, value_name = "NAME", help_heading = CLUSTER)]
    pub node: Option<String>,
    /// PEM file with the certificate of the authority that is believed for NATS besides those of the system.
    #[arg(long, value_name = "FILE", help_heading = CLUSTER)]
    pub cluster_ca: Option<PathBuf>,
}

/// Where NATS is, which may say a password.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterUrl(String);

impl ClusterUrl {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ClusterUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for ClusterUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterUrl")
    }
}

/// All controllers, each with its name in the help.
fn controllers() -> impl TypedValueParser<Value = Congestion> {
    let value = |one: Congestion| PossibleValue::new(one.word()).help(one.name());
    PossibleValuesParser::new(Congestion::ALL.map(value)).map(|word| {
        let mut all = Congestion::ALL.into_iter();
        all.find(|one| one.word() == word).unwrap_or_default()
    })
}

/// The heading of the flags that say who may use the server.
const WHO: &str = "Who may use the server";
const CLUSTER: &str = "Rooms over several machines";

/// A bearer token, or what the file behind `@` holds, if it is made of what RFC 6750 §2.1 allows.
fn token(text: &str) -> Result<String, String> {
    let text = text_or_file(text)?;
    let bare = text.trim_end_matches('=');
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(known) {
        return Err("a token has letters, digits and -._~+/, and may end in =".to_owned());
    }
    Ok(text)
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
    fn every_controller_can_be_chosen() {
        for one in Congestion::ALL {
            let args = Args::parse_from(["antiphon", "serve", "--congestion", one.word()]);
            let Some(Command::Serve(serve)) = args.command else {
                panic!()
            };
            assert_eq!(serve.congestion, one);
        }
        assert_eq!(Args::parse_from(["antiphon"]).serve.congestion, Congestion::default());
        assert!(Args::try_parse_from(["antiphon", "--congestion", "luck"]).is_err());
    }

    #[test]
    fn mend16_a_token_that_is_none_is_an_error() {
        for wrong in ["", "=", "two words", "ä", "a=b"] {
            assert!(
                Args::try_parse_from(["antiphon", "--whip-token", wrong]).is_err(),
                "{wrong}"
            );
        }
        let args = Args::parse_from(["antiphon", "--whep-token", "c2VjcmV0-._~+/=="]).serve;
        assert_eq!(args.whep_token.as_deref(), Some("c2VjcmV0-._~+/=="));
        assert_eq!(args.whip_token, None);
    }

    #[test]
    fn a_token_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let flag = format!("@{}", file.display());
        assert!(
            Args::try_parse_from(["antiphon", "--whip-token", &flag]).is_err(),
            "there is none"
        );
        std::fs::write(&file, "c2VjcmV0==\n").unwrap();
        let args = Args::parse_from(["antiphon", "--whip-token", &flag]).serve;
        assert_eq!(args.whip_token.as_deref(), Some("c2VjcmV0=="));
        std::fs::write(&file, "two words").unwrap();
        assert!(Args::try_parse_from(["antiphon", "--whip-token", &flag]).is_err());
    }

    #[test]
    fn tokens_of_the_environment_are_read_for_the_server_alone() {
        let environment = |name: &str| match name {
            "ANTIPHON_WHIP_TOKEN" => Some(OsString::from("c2VjcmV0==")),
            "ANTIPHON_WHEP_TOKEN" => Some(OsString::from("two words")),
            _ => None,
        };
        let mut args = Args::parse_from(["antiphon", "--whep-token", "abc"]).serve;
        args.read_tokens(environment).unwrap();
        assert_eq!(
            (args.whip_token.as_deref(), args.whep_token.as_deref()),
            (Some("c2VjcmV0=="), Some("abc"))
        );
        let mut args = Args::parse_from(["antiphon"]).serve;
        let error = args.read_tokens(environment).unwrap_err();
        assert!(error.starts_with("ANTIPHON_WHEP_TOKEN: a token has"), "{error}");
        let mut args = Args::parse_from(["antiphon"]).serve;
        assert!(
            args.read_tokens(|_| Some(OsString::new())).is_err(),
            "an empty one is none"
        );
    }

    #[test]
    fn serve_is_what_happens_without_a_command() {
        let bare = Args::parse_from(["antiphon"]);
        assert!(bare.command.is_none());
        assert_eq!(bare.serve.listen, "127.0.0.1:8080".parse().unwrap());
        let flags = Args::parse_from(["antiphon", "--udp-port", "0"]);
        assert_eq!(flags.serve.udp_port, Some(0));
        let linked = Args::parse_from(["antiphon", "serve", "--link", "rate=1000,loss=1"]);
        assert!(
            matches!(linked.command, Some(Command::Serve(serve)) if serve.link.is_some_and(|link| link.rate == Some(1000)))
        );
        assert!(Args::try_parse_from(["antiphon", "serve", "--link", "rate=none"]).is_err());
        assert!(!flags.serve.lite);
        // A lite agent asks nobody.
        let both = ["antiphon", "--lite", "--ice-server", "stun:192.0.2.1"];
        assert!(Args::try_parse_from(both).is_err());
        let Some(Command::Serve(serve)) = Args::parse_from(["antiphon", "serve", "--listen", "[::1]:9"]).command else {
            panic!("serve")
        };
        assert_eq!(serve.listen, "[::1]:9".parse().unwrap());
    }
}
