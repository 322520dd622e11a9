//! Watches a WHEP endpoint and counts the frames that arrive whole, second by second.
//!
//!     cargo run --release -p antiphon-cli --example viewer -- http://127.0.0.1:8080/whep 20
//!
//! Ends by itself after so many seconds (10 by default), with the session deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon::{
    Api, Direction, Event, MediaKind, Output, RtcConfiguration, RtcRtpTransceiverInit, RtcSessionDescription,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "http://127.0.0.1:8080/whep".into());
    let seconds = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let mut configuration = RtcConfiguration::default();
    let settings = &mut configuration.settings;
    let codecs = Arc::make_mut(&mut settings.capabilities);
    codecs.video.retain(|codec| codec.name == "VP8");
    settings.receive_output = Output::Frames;
    let mut pc = Api::builder()
        .loopback(true)
        .build()?
        .peer_connection(configuration)
        .await?;
    for kind in [MediaKind::Video, MediaKind::Audio] {
        pc.add_transceiver(kind, RtcRtpTransceiverInit::new(Direction::RecvOnly))
            .await?;
    }
    pc.set_local_description(None).await?;
    while !matches!(pc.next_event().await, Some(Event::IceCandidate(None)) | None) {}
    let offer = pc.local_description().await?.ok_or("no offer")?;
    let (answer, location) = post(&url, &offer.sdp).await?;
    pc.set_remote_description(RtcSessionDescription::answer(answer)).await?;

    let transceivers = pc.transceivers().await?;
    let video = transceivers
        .iter()
        .find(|transceiver| transceiver.kind() == MediaKind::Video)
        .map(|transceiver| transceiver.id());
    let (mut this_second, mut bytes, mut all) = (0u32, 0usize, 0u32);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.tick().await;
    let started = Instant::now();
    let mut elapsed = 0;
    while elapsed < seconds {
        tokio::select! {
            event = pc.next_event() => match event {
                Some(Event::Frame { transceiver, frame, .. }) if Some(transceiver) == video => {
                    this_second += 1;
                    bytes += frame.data.len();
                }
                Some(Event::ConnectionStateChange(state)) => println!("connection {state}"),
                None => break,
                Some(_) => {}
            },
            _ = tick.tick() => {
                elapsed += 1;
                println!("second {elapsed}: {this_second} frames, {} kbit", bytes / 125);
                all += this_second;
                (this_second, bytes) = (0, 0);
            }
        }
    }
    println!("{all} frames in {:.1} s", started.elapsed().as_secs_f64());
    pc.close().await;
    request(&location, "DELETE", "").await?;
    Ok(())
}

/// Posts the offer; gives the answer and the URL of the session.
async fn post(url: &str, offer: &str) -> Result<(String, String), AnyError> {
    let response = request(url, "POST", offer).await?;
    let (head, body) = response.split_once("\r\n\r\n").ok_or("no end of the header")?;
    if !head.starts_with("HTTP/1.1 201") {
        return Err(format!("refused: {} {body}", head.lines().next().unwrap_or_default()).into());
    }
    let location = head
        .lines()
        .find_map(|line| {
            line.split_once(':')
                .filter(|(name, _)| name.eq_ignore_ascii_case("location"))
        })
        .map(|(_, value)| value.trim())
        .ok_or("no Location")?;
    let (_, host, _) = parts(url)?;
    Ok((body.to_owned(), format!("http://{host}{location}")))
}

async fn request(url: &str, method: &str, body: &str) -> Result<String, AnyError> {
    let (address, host, path) = parts(url)?;
    let mut stream = TcpStream::connect(&address).await?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response)
}

/// Where to connect, the Host header and the path.
fn parts(url: &str) -> Result<(String, String, String), AnyError> {
    let rest = url.strip_prefix("http://").ok_or("the URL begins with http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    Ok((address, host.to_owned(), format!("/{path}")))
}
