//! What a router sends and gets without a peer: from and to another router of this program, or the program itself.

use std::future::poll_fn;

use antiphon_media::Packet;
use antiphon_sfu::router::{Format, ProducerId};

use super::Router;
use super::ends::{Consumer, Producer};
use crate::driver::crossing::{Entry, Exit, crossing};
use crate::driver::message::{Hosting, RouterMessage};
use crate::error::Error;

impl Router {
    /// Everything that a producer produces goes to another router of this program, which may live in another driver: the producer there. Every
    /// encoding goes with all of its layers, as through [`pipe`](Self::pipe), but over a queue instead of a network. Where the other
    /// driver does not keep up, the oldest packets are dropped; key frames are asked for back; each end is closed with the other.
    ///
    /// Each call makes one more crossing: call it once for each router where somebody consumes, and close the producer there
    /// when nobody does any more.
    ///
    /// ```no_run
    /// use antiphon::router::{ConsumeOptions, Producer, Router};
    /// use antiphon::{PeerHandle, TransceiverId};
    ///
    /// /// `watcher` is a peer of the driver of `there`, which has another port and may run on another core.
    /// async fn cross(
    ///     here: &Router,
    ///     producer: &Producer,
    ///     there: &Router,
    ///     (watcher, to): (&PeerHandle, TransceiverId),
    /// ) -> Result<(), antiphon::Error> {
    ///     let crossed = here.pipe_to(producer, there).await?;
    ///     there.consume(&crossed, watcher, to, ConsumeOptions::default()).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Router`] if the producer is closed or either router is full; [`Error::Closed`] once either driver is gone.
    pub async fn pipe_to(&self, producer: impl Into<ProducerId>, other: &Router) -> Result<Producer, Error> {
        let (_, crossed) = self.cross(producer.into(), other).await?;
        Ok(crossed)
    }

    /// The same, with the consumer here: who pauses it stops the crossing for a while.
    pub(crate) async fn cross(&self, producer: ProducerId, other: &Router) -> Result<(Consumer, Producer), Error> {
        let (entry, exit) = crossing();
        let format = self.link.call(move |at, _| Ok(at.router().format(producer)?)).await?;
        let crossed = other.come_out(format, exit).await?;
        // If this fails, the entry goes, and the producer there with it.
        let pipe = self.go_in(producer, entry).await?;
        Ok((pipe, crossed))
    }

    /// What the program sends itself goes to consumers: packets that it made, or got elsewhere.
    ///
    /// ```
    /// # async fn run() -> Result<(), antiphon::Error> {
    /// use antiphon::router::{Format, RouterOptions};
    /// use antiphon::{Api, Codec, MediaKind};
    ///
    /// let api = Api::builder().loopback(true).one_port(0).build()?;
    /// let router = api.router(RouterOptions::default())?;
    /// let opus = Codec {
    ///     payload_type: 111,
    ///     name: "opus".into(),
    ///     clock_rate: 48_000,
    ///     channels: Some(2),
    ///     parameters: String::new(),
    ///     sender_parameters: String::new(),
    ///     feedback: Vec::new(),
    ///     rtx: None,
    /// };
    /// let format = Format { kind: MediaKind::Audio, codecs: vec![opus], rids: Vec::new() };
    /// let voice = router.produce_direct(format).await?;
    /// // The program gets it itself here, as a peer of the router would.
    /// let mut heard = router.consume_direct(voice.producer()).await?;
    /// # use std::time::Instant;
    /// # let packet = |sequence| antiphon::peer_connection::Packet {
    /// #     ssrc: 7, rid: None, payload_type: 111, sequence, timestamp: sequence as u32 * 960, marker: false,
    /// #     payload: bytes::Bytes::from_static(b"sound"), front: None, key_frame: false, extensions: Default::default(),
    /// #     contributors: None, received: Instant::now(), captured: None,
    /// # };
    /// voice.send(packet(1));
    /// voice.send(packet(2));
    /// assert_eq!(heard.next().await.unwrap().sequence, 1);
    /// assert_eq!(heard.next().await.unwrap().sequence, 2);
    /// assert_eq!(heard.format().unwrap().codecs[0].name, "opus");
    /// drop(voice); // which closes it, and what consumes it
    /// assert!(heard.next().await.is_none());
    /// # Ok(())
    /// # }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run()).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Error::Router`] if the router is full; [`Error::Closed`] once the driver is gone.
    pub async fn produce_direct(&self, format: Format) -> Result<DirectProducer, Error> {
        let (entry, exit) = crossing();
        let producer = self.come_out(format, exit).await?;
        Ok(DirectProducer { producer, entry })
    }

    /// Everything that a producer produces comes to the program: every encoding with all of its layers, and sound whether it is among the
    /// loudest or not.
    ///
    /// # Errors
    /// [`Error::Router`] if the producer is closed or the router is full; [`Error::Closed`] once the driver is gone.
    pub async fn consume_direct(&self, producer: impl Into<ProducerId>) -> Result<DirectConsumer, Error> {
        let (entry, exit) = crossing();
        let consumer = self.go_in(producer.into(), entry).await?;
        Ok(DirectConsumer {
            consumer,
            exit,
            format: None,
        })
    }

    /// What comes out of a crossing is produced here.
    async fn come_out(&self, format: Format, exit: Exit) -> Result<Producer, Error> {
        let (inbox, router) = self.link.place();
        let produce = move |at: &mut dyn Hosting, _| {
            let id = at.router().produce_direct(format)?;
            exit.settle(move || inbox.tell_router(RouterMessage::Came(router, id)));
            at.crossings().leave(id, exit);
            Ok(id)
        };
        let id = self.link.call(produce).await?;
        Ok(Producer::new(self.link.clone(), id))
    }

    /// What a producer produces goes into a crossing.
    async fn go_in(&self, producer: ProducerId, entry: Entry) -> Result<Consumer, Error> {
        let (inbox, router) = self.link.place();
        let consume = move |at: &mut dyn Hosting, now| {
            let id = at.router().consume_direct(now, producer)?;
            entry.settle(move || inbox.tell_router(RouterMessage::Asked(router, id)));
            at.crossings().enter(id, entry);
            Ok(id)
        };
        let id = self.link.call(consume).await?;
        Ok(Consumer::new(self.link.clone(), id, producer))
    }
}

/// A producer of what the program sends itself. Dropping it closes it.
pub struct DirectProducer {
    producer: Producer,
    entry: Entry,
}

impl std::fmt::Debug for DirectProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DirectProducer").field(&self.producer.id()).finish()
    }
}

impl DirectProducer {
    /// The handle of it, which is as that of any producer.
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Sends a packet. Its payload type is one of the format's codecs, its RID one of the format's if there are any, and its sequence
    /// number is extended: it does not wrap. Nothing is waited for: where the driver does not keep up, the oldest of the newest
    /// 1024 packets are dropped and [counted](Self::dropped). Once it is closed, nothing happens.
    pub fn send(&self, packet: Packet) {
        self.entry.push(std::iter::once(packet));
    }

    /// What is sent from now on is of another format. Its kind stays.
    pub fn set_format(&self, format: Format) {
        self.entry.set_format(format);
    }

    /// The SSRC of the next source that a consumer needs a key frame of, told once for all who want it; `None` once it is closed.
    /// Cancel safe.
    pub async fn key_frame_requested(&mut self) -> Option<u32> {
        poll_fn(|cx| self.entry.poll_asked(cx)).await
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.entry.is_over()
    }

    /// Packets that were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.entry.dropped()
    }
}

/// A consumer of what a producer produces, for the program itself. Dropping it closes it.
pub struct DirectConsumer {
    consumer: Consumer,
    exit: Exit,
    format: Option<Format>,
}

impl std::fmt::Debug for DirectConsumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DirectConsumer").field(&self.consumer.id()).finish()
    }
}

impl DirectConsumer {
    /// The handle of it, which is as that of any pipe.
    pub fn consumer(&self) -> &Consumer {
        &self.consumer
    }

    /// The next packet, with the SSRC, the payload type and the RID of its source; `None` once it is closed. The newest 1024 wait.
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Packet> {
        let (format, packet) = poll_fn(|cx| self.exit.poll_packet(cx)).await?;
        if format.is_some() {
            self.format = format;
        }
        Some(packet)
    }

    /// The format of the packet that came last; `None` before one has come.
    pub fn format(&self) -> Option<&Format> {
        self.format.as_ref()
    }

    /// Asks a source, by its SSRC, for a key frame.
    pub fn request_key_frame(&self, ssrc: u32) {
        self.exit.ask(ssrc);
    }

    /// Packets that were dropped because too many waited here.
    pub fn dropped(&self) -> u64 {
        self.exit.dropped()
    }
}
