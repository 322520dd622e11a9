//! Word of addresses that come and go, from the system. What it says is not read: the list is asked for anew whenever it says
//! anything.

#[cfg(target_os = "linux")]
pub(crate) use linux::AddressChanges;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::AddressChanges;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::AsRawFd;

    use nix::errno::Errno;
    use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
    use tokio::net::UdpSocket;

    /// `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of `linux/rtnetlink.h`.
    const GROUPS: u32 = 0x10 | 0x100;

    /// A netlink socket that hears of addresses (rtnetlink(7)). tokio has none of that family, but what it does with any socket of
    /// datagrams is all that is wanted: it waits until something can be read, and reads it.
    pub(crate) struct AddressChanges {
        socket: UdpSocket,
    }

    impl AddressChanges {
        /// Listens from now on.
        ///
        /// # Errors
        /// What the system says against the socket.
        ///
        /// # Panics
        /// Outside a tokio runtime.
        pub(crate) fn new() -> io::Result<Self> {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let netlink = SockProtocol::NetlinkRoute;
            let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, netlink)?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
            let socket = UdpSocket::from_std(socket.into())?;
            Ok(Self { socket })
        }

        /// Waits for the next change. Cancel safe.
        ///
        /// # Errors
        /// When there will be no more.
        pub(crate) async fn next(&mut self) -> io::Result<()> {
            match self.socket.recv(&mut [0; 64]).await {
                Ok(_) => Ok(()),
                // So much was to say that some of it is lost.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Ok(()),
                Err(error) => Err(error),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::future::poll_fn;
    use std::io;

    use if_watch::tokio::IfWatcher;

    /// What each of the other systems has for this. Its first words are the addresses that exist.
    pub(crate) struct AddressChanges(IfWatcher);

    impl AddressChanges {
        /// Listens from now on.
        ///
        /// # Errors
        /// What the system says against it.
        pub(crate) fn new() -> io::Result<Self> {
            IfWatcher::new().map(Self)
        }

        /// Waits for the next change. Cancel safe.
        ///
        /// # Errors
        /// When there will be no more.
        pub(crate) async fn next(&mut self) -> io::Result<()> {
            poll_fn(|cx| self.0.poll_if_event(cx)).await.map(drop)
        }
    }
}
