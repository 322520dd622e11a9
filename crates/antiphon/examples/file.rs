//! Sends a file over a data channel that is a byte stream: `cargo run -p antiphon --example file -- FILE`. The other peer
//! writes it to `FILE.received`.

#[allow(dead_code, reason = "each example uses its own part")]
mod meet;

use antiphon::{Api, DataChannel, Event, RtcConfiguration};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

async fn send_file(channel: DataChannel, path: &str) -> std::io::Result<u64> {
    let mut file = File::open(path).await?;
    let mut stream = channel.into_byte_stream(); // tokio's AsyncRead and AsyncWrite
    let bytes = tokio::io::copy(&mut file, &mut stream).await?;
    stream.shutdown().await?; // all of it is on its way; then the channel closes
    Ok(bytes)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("which file?")?;
    let api = Api::builder().loopback(true).build()?;
    let mut sender = api.peer_connection(RtcConfiguration::default()).await?;
    let mut receiver = api.peer_connection(RtcConfiguration::default()).await?;
    let mut channel = sender.create_data_channel("file", Default::default()).await?;
    meet::meet(&mut sender, &mut receiver).await?;

    let to = format!("{path}.received");
    let other_side = tokio::spawn(async move {
        let incoming = |event| match event {
            Event::DataChannel(channel) => Some(channel),
            _ => None,
        };
        let channel = meet::first(&mut receiver, incoming).await.expect("a channel comes");
        let mut file = File::create(to).await?;
        tokio::io::copy(&mut channel.into_byte_stream(), &mut file).await
    });
    channel.opened().await?;
    let sent = send_file(channel, &path).await?;
    let received = other_side.await??;
    println!("{sent} bytes sent, {received} received");
    Ok(())
}
