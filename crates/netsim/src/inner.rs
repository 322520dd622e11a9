//! Makes a [`Machine`](crate::Machine) of a machine that knows no addresses, so that [`Pipe`](crate::Pipe) and
//! [`Checked`](crate::Checked) take it.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use antiphon_sansio::{Ecn, Local, Path, Transmit};

/// What a machine that knows no addresses wants sent, as one datagram to nowhere in particular.
pub fn to_the_other_end(range: Range<usize>, ecn: Ecn) -> Transmit {
    Transmit {
        path: Path {
            local: Local::Socket(0),
            remote: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        },
        range,
        segment_size: None,
        ecn,
    }
}

/// Defines a wrapper around a machine that has `handle_packet(now, Packet)`, `poll_transmit(now, &mut TransmitBuf) -> Option<Ecn>`,
/// `handle_timeout`, `poll_event` and `poll_timeout`. The wrapper is a [`Machine`](crate::Machine), and dereferences to what it wraps.
///
/// `close` says how it is ended; `ended`, which may be left out, whether it is in a terminal state.
///
/// ```
/// # use std::time::Instant;
/// # use antiphon_sansio::{Ecn, Packet, TransmitBuf};
/// # #[derive(Debug)]
/// # pub struct Echo(Vec<u8>);
/// # impl Echo {
/// #     fn handle_packet(&mut self, _: Instant, _: Packet) {}
/// #     fn handle_timeout(&mut self, _: Instant) {}
/// #     fn poll_transmit(&mut self, _: Instant, _: &mut TransmitBuf) -> Option<Ecn> { None }
/// #     fn poll_event(&mut self) -> Option<u8> { self.0.pop() }
/// #     fn poll_timeout(&self) -> Option<Instant> { None }
/// #     fn close(&mut self, _: Instant) {}
/// #     fn has_ended(&self) -> bool { false }
/// # }
/// antiphon_netsim::inner_machine! {
///     /// One end of a test.
///     pub struct End(Echo) -> u8;
///     close = Echo::close;
///     ended = Echo::has_ended;
/// }
/// ```
#[macro_export]
macro_rules! inner_machine {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident($machine:ty) -> $event:ty;
        close = $close:expr;
        $(ended = $ended:expr;)?
    ) => {
        $(#[$attribute])*
        #[derive(Debug)]
        $vis struct $name($vis $machine);

        impl ::std::ops::Deref for $name {
            type Target = $machine;

            fn deref(&self) -> &$machine {
                &self.0
            }
        }

        impl ::std::ops::DerefMut for $name {
            fn deref_mut(&mut self) -> &mut $machine {
                &mut self.0
            }
        }

        impl $crate::Machine for $name {
            type Event = $event;

            fn handle_datagram(&mut self, now: ::std::time::Instant, datagram: $crate::sansio::Datagram) {
                let $crate::sansio::Datagram { ecn, data, .. } = datagram;
                self.0.handle_packet(now, $crate::sansio::Packet { ecn, data });
            }

            fn handle_timeout(&mut self, now: ::std::time::Instant) {
                self.0.handle_timeout(now);
            }

            fn poll_transmit(
                &mut self,
                now: ::std::time::Instant,
                out: &mut $crate::sansio::TransmitBuf,
            ) -> ::std::option::Option<$crate::sansio::Transmit> {
                let ecn = self.0.poll_transmit(now, out)?;
                Some($crate::to_the_other_end(out.finish(), ecn))
            }

            fn poll_event(&mut self) -> ::std::option::Option<$event> {
                self.0.poll_event()
            }

            fn poll_timeout(&self) -> ::std::option::Option<::std::time::Instant> {
                self.0.poll_timeout()
            }

            fn close(&mut self, now: ::std::time::Instant) {
                let close: fn(&mut $machine, ::std::time::Instant) = $close;
                close(&mut self.0, now);
            }

            $(fn is_terminated(&self) -> bool {
                let ended: fn(&$machine) -> bool = $ended;
                ended(&self.0)
            })?
        }
    };
}
