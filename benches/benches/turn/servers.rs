//! The servers, each a process of its own that ends with this one.

use std::io::{self, BufRead, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use antiphon::turn_server::{PeerPolicy, TurnServer, TurnServerConfig};

pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "only-on-loopback";
const REALM: &str = "bench.example";

/// All our clients have one address.
const MANY: usize = 100_000;
/// How long coturn may take until it answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running server.
pub(crate) struct Server {
    name: String,
    child: Child,
    addr: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// The server of this build.
    pub(crate) fn ours() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--serve");
        Self::that_says_its_address("ours".to_owned(), command)
    }

    /// `antiphon turn` of another build.
    pub(crate) fn program(program: &Path) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(["turn", "--listen", "127.0.0.1:0", "--no-tcp", "--allow-loopback-peers"]);
        command.args(["--realm", REALM, "--user", &format!("{USER}:{PASSWORD}")]);
        let many = MANY.to_string();
        for limit in [
            "--max-allocations-per-user",
            "--max-allocations-per-address",
            "--stranger-rate",
        ] {
            command.args([limit, &many]);
        }
        Self::that_says_its_address(program.display().to_string(), command)
    }

    fn that_says_its_address(name: String, mut command: Command) -> io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?;
        let said = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut server = Self {
            name,
            child,
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        };
        for line in BufReader::new(said).lines() {
            let line = line?;
            if let Some(addr) = line.strip_prefix("udp ") {
                server.addr = addr.parse().map_err(io::Error::other)?;
            }
            if line == "ready" {
                return Ok(server);
            }
        }
        Err(io::Error::other("the server ended before it was ready"))
    }

    /// The `turnserver` that is installed.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub(crate) fn coturn() -> io::Result<Self> {
        let addr = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new("turnserver");
        command.args(["-n", "--lt-cred-mech", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp"]);
        command.args([
            "--allow-loopback-peers",
            "--log-file",
            "/dev/null",
            "--pidfile",
            "/dev/null",
        ]);
        command.args(["--user", &format!("{USER}:{PASSWORD}"), "--realm", REALM]);
        command.args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1"]);
        command.args(["--listening-port", &addr.port().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self {
            name: "coturn".to_owned(),
            child: command.spawn()?,
            addr,
        };
        // It says nothing that can be waited for: a Binding request is answered once it is there.
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(addr)?;
        let step = Duration::from_millis(50);
        socket.set_read_timeout(Some(step))?;
        let mut request = [0; 20];
        request[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
        for _ in 0..PATIENCE.as_millis() / step.as_millis() {
            let _ = socket.send(&request);
            match socket.recv(&mut [0; 1000]) {
                Ok(_) => return Ok(server),
                // Refused at once, until somebody listens.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => thread::sleep(step),
                Err(_) => {}
            }
        }
        Err(io::Error::other("coturn does not answer"))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What all its threads have used, in user and kernel mode.
    pub(crate) fn processor_time(&self) -> io::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // proc_pid_stat(5): fields 14 and 15; the name, field 2, may hold blanks and ends with the last bracket.
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let mut times = after_name.split(' ').skip(11).map(str::parse::<u64>);
        let (Some(Ok(user)), Some(Ok(kernel))) = (times.next(), times.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let ticks = rustix::param::clock_ticks_per_second();
        Ok(Duration::from_micros((user + kernel) * 1_000_000 / ticks))
    }
}

/// This process is the server: as `antiphon turn` runs it.
pub(crate) fn serve() -> io::Result<()> {
    let mut config = TurnServerConfig::new(REALM).user(USER, PASSWORD);
    config.listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    config.tcp = false;
    config.server.policy = PeerPolicy {
        allow_loopback: true,
        ..PeerPolicy::default()
    };
    config.server.max_allocations_per_user = MANY;
    config.server.max_allocations_per_address = MANY;
    config.server.stranger_rate.per_second = MANY as u32;
    config.server.stranger_rate.burst = MANY as u32;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = TurnServer::start(config).await.map_err(io::Error::other)?;
        let mut out = io::stdout();
        for addr in server.udp_addrs() {
            writeln!(out, "udp {addr}")?;
        }
        writeln!(out, "ready")?;
        std::future::pending().await
    })
}
