//! Antiphon: a router within the driver, one port, one thread.

use antiphon::router::{ConsumeOptions, ProduceOptions, Producer, Router, RouterOptions};
use antiphon::{Api, Direction, Event, MediaKind, PeerConnection, RtcRtpTransceiverInit, RtcSessionDescription, TransceiverId};
use antiphon_benches::fan::{configuration, send_only};
use antiphon_benches::meeting::loopback;
use tokio::runtime::{Builder, Runtime};

pub struct Forwarder {
    runtime: Runtime,
    api: Api,
    router: Router,
    producer: Option<Producer>,
    /// The one that was offered last.
    offered: Option<(PeerConnection, TransceiverId, bool)>,
}

impl Forwarder {
    pub fn new() -> Self {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("a runtime");
        let api = {
            let _inside = runtime.enter();
            loopback().one_port(0).build().expect("an api")
        };
        let router = api.router(RouterOptions::default()).expect("a router");
        Self {
            runtime,
            api,
            router,
            producer: None,
            offered: None,
        }
    }
}

impl super::Server for Forwarder {
    fn offer(&mut self, sends: bool) -> String {
        let api = self.api.clone();
        let init = if sends { send_only() } else { RtcRtpTransceiverInit::new(Direction::RecvOnly) };
        // On the runtime's thread, as an application would.
        let made = self.runtime.spawn(async move {
            let mut peer = api.peer_connection(configuration()).await.expect("a peer");
            let transceiver = peer.add_transceiver(MediaKind::Video, init).await.expect("a transceiver");
            peer.set_local_description(None).await.expect("an offer");
            // With all candidates.
            while let Some(event) = peer.next_event().await {
                if matches!(event, Event::IceCandidate(None)) {
                    break;
                }
            }
            let offer = peer.local_description().await.expect("a peer").expect("it was just set");
            (peer, transceiver, offer.sdp)
        });
        let (peer, transceiver, offer) = self.runtime.block_on(made).expect("nobody panics");
        self.offered = Some((peer, transceiver, sends));
        offer
    }

    fn answer(&mut self, sdp: String) {
        let (mut peer, transceiver, sends) = self.offered.take().expect("one was offered");
        let (router, producer) = (self.router.clone(), self.producer.clone());
        let taken = self.runtime.spawn(async move {
            let answer = RtcSessionDescription::answer(sdp);
            peer.set_remote_description(answer).await.expect("the answer is taken");
            let handle = peer.handle();
            let producer = match producer.filter(|_| sends) {
                Some(producer) => {
                    let options = ConsumeOptions {
                        overshoot: u64::MAX,
                        ..ConsumeOptions::default()
                    };
                    let consumed = router.consume(&producer, &handle, transceiver, options).await;
                    consumed.expect("a consumer");
                    producer
                }
                None => router
                    .produce(&handle, transceiver, ProduceOptions::default())
                    .await
                    .expect("a producer"),
            };
            tokio::spawn(async move { while peer.next_event().await.is_some() {} });
            producer
        });
        self.producer = Some(self.runtime.block_on(taken).expect("nobody panics"));
    }
}
