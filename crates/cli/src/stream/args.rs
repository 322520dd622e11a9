//! Their flags.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use antiphon::whip::{Endpoint, Error};
use antiphon::{Api, ApiBuilder, RtcConfiguration, RtcIceServer};

use super::StreamError;

/// Where plain `antiphon serve` is: for names of streams instead of URLs.
const HOME: &str = "http://127.0.0.1:8080";

/// Flags about the server.
#[derive(Clone, Debug, clap::Args)]
pub struct ServerArgs {
    /// The bearer token that the server asks for; better in ANTIPHON_TOKEN than on the command line, which others can read.
    #[arg(long, value_name = "TOKEN", env = "ANTIPHON_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Believe the server whatever its certificate: for certificates that are made by oneself, as `serve --tls` does. Whoever sits between
    /// can then read the token and the media.
    #[arg(long)]
    pub insecure: bool,
    /// PEM file with certificates to trust for the server, besides those of the system.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// STUN servers, to be reached from outside a NAT, besides those that the server names. Repeatable.
    #[arg(long = "ice-server", value_name = "URL")]
    pub ice_servers: Vec<String>,
    /// How this machine is reached.
    #[command(flatten)]
    pub reach: crate::reach::ReachArgs,
}

/// Flags of `play`.
#[derive(Clone, Debug, clap::Args)]
pub struct PlayArgs {
    /// A WebM, MP4, Ogg (Opus) or IVF file, or a byte stream of H.264, H.265 (Annex B) or AV1 (OBU).
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The WHIP endpoint; or the name of a stream at the `antiphon serve` of this machine.
    #[arg(value_name = "URL|NAME")]
    pub to: String,
    /// Begin again at the end.
    #[arg(long = "loop")]
    pub looping: bool,
    /// Stop after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// How the server is reached.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `pattern`.
#[derive(Clone, Debug, clap::Args)]
pub struct PatternArgs {
    /// The WHIP endpoint; or the name of a stream at the `antiphon serve` of this machine.
    #[arg(value_name = "URL|NAME")]
    pub to: String,
    /// In how many sizes at once: 640x360, 320x180 and 160x90 pixels. A server that takes no simulcast gets the first.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub layers: u8,
    /// Stop after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// How the server is reached.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Flags of `record`.
#[derive(Clone, Debug, clap::Args)]
pub struct RecordArgs {
    /// The WHEP endpoint; or the name of a stream at the `antiphon serve` of this machine. With --room the address of the server.
    #[arg(value_name = "URL|NAME")]
    pub from: String,
    /// The file; with --room the folder, which is made if it is not there. The extension of a file says what it becomes: webm, mkv and mp4 hold sound and picture; ogg and opus the sound alone; ivf, h264,
    /// h265 and obu the picture alone.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Record this room of an `antiphon serve`: a file for each participant and each screen, and an index.json of whose they are.
    /// Everybody there sees it. --token is the token that lets in, where the server asks for one.
    #[arg(long, value_name = "ROOM", conflicts_with = "overwrite")]
    pub room: Option<String>,
    /// What the others in the room call this recorder, unless the token says it.
    #[arg(long, value_name = "NAME", default_value = "Recorder", requires = "room")]
    pub name: String,
    /// What the files of a room become: webm, mkv or mp4.
    #[arg(long, value_name = "FORMAT", default_value = "webm", requires = "room")]
    pub format: String,
    /// Stop after so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Replace a file of this name.
    #[arg(long)]
    pub overwrite: bool,
    /// How the server is reached.
    #[command(flatten)]
    pub server: ServerArgs,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "a number of seconds, as 90 or 2.5".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not so many seconds".to_owned())
}

/// The URL of what a person wrote: one, or the name of a stream here.
pub(super) fn url(text: &str, path: &str) -> String {
    if text.contains("://") {
        text.to_owned()
    } else {
        format!("{HOME}/{path}/{text}")
    }
}

impl ServerArgs {
    /// The endpoint behind a URL.
    pub(super) fn endpoint(&self, url: &str) -> Result<Endpoint, StreamError> {
        let mut endpoint = Endpoint::new(url)?.danger_accept_any_server_certificate(self.insecure);
        if let Some(token) = &self.token {
            endpoint = endpoint.bearer(token);
        }
        if let Some(path) = &self.ca {
            let named = |why: String| StreamError::File {
                file: path.display().to_string(),
                why,
            };
            let pem = std::fs::read(path).map_err(|e| named(e.to_string()))?;
            endpoint = endpoint
                .trusted_certificates_pem(&pem)
                .map_err(|e| named(e.to_string()))?;
        }
        Ok(endpoint)
    }

    /// Sockets for a session with the server behind `url`.
    pub(super) fn api(&self, url: &str) -> Result<Api, StreamError> {
        let builder: ApiBuilder = self.reach.builder(Api::builder().loopback(is_here(url)))?;
        Ok(builder.build()?)
    }

    /// What a connection starts from, with the servers that the endpoint names.
    pub(super) async fn configuration(&self, endpoint: &Endpoint) -> Result<RtcConfiguration, Error> {
        let server = |url: &String| RtcIceServer {
            urls: vec![url.clone()],
            username: String::new(),
            credential: String::new(),
        };
        let mut configuration = RtcConfiguration {
            ice_servers: self.ice_servers.iter().map(server).collect(),
            ..RtcConfiguration::default()
        };
        configuration.ice_servers.extend(endpoint.ice_servers().await?);
        self.reach.configure(&mut configuration);
        Ok(configuration)
    }
}

/// Whether a URL leads to this machine, so that its loopback addresses are of use.
fn is_here(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_stream_of_this_machine() {
        assert_eq!(url("stage", "whip"), "http://127.0.0.1:8080/whip/stage");
        assert_eq!(url("https://a/b", "whip"), "https://a/b");
        for here in ["http://127.0.0.1:80/x", "https://LOCALHOST", "http://[::1]:8080/whip"] {
            assert!(is_here(here), "{here}");
        }
        for there in [
            "http://192.0.2.1/127.0.0.1",
            "https://example.org",
            "http://[2001:db8::1]/",
        ] {
            assert!(!is_here(there), "{there}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2500)));
        for wrong in ["", "-1", "NaN", "1e300", "1m"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
