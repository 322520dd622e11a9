//! Two peers talk over a data channel: `cargo run -p antiphon --example chat`. What you type goes to the other peer, which
//! says it back in capitals; the end of the input ends both.

#[allow(dead_code, reason = "each example uses its own part")]
mod meet;

use antiphon::{Api, DataChannel, Event, RtcConfiguration};
use tokio::io::{AsyncBufReadExt, BufReader};

async fn chat(mut channel: DataChannel) -> Result<(), Box<dyn std::error::Error>> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    channel.opened().await?;
    while let Some(line) = lines.next_line().await? {
        channel.send_text(line).await?;
        let Some(answer) = channel.recv().await else { break }; // `None`: the peer has closed the channel
        println!("{}", String::from_utf8_lossy(&answer.data));
    }
    channel.close();
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let api = Api::builder().loopback(true).build()?;
    let mut caller = api.peer_connection(RtcConfiguration::default()).await?;
    let mut callee = api.peer_connection(RtcConfiguration::default()).await?;
    let channel = caller.create_data_channel("chat", Default::default()).await?;
    meet::meet(&mut caller, &mut callee).await?;

    let other_side = tokio::spawn(async move {
        let incoming = |event| match event {
            Event::DataChannel(channel) => Some(channel),
            _ => None,
        };
        let mut channel = meet::first(&mut callee, incoming).await.expect("a channel comes");
        while let Some(message) = channel.recv().await {
            let text = String::from_utf8_lossy(&message.data).to_uppercase();
            if channel.send_text(text).await.is_err() {
                break;
            }
        }
    });
    chat(channel).await?;
    other_side.await?;
    Ok(())
}
